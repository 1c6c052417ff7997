// One run folder for several ranks: the first one writes it, the others follow and need not see its disk.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>

#include "gradus/run/ranks.h"
#include "gradus/run/run_folder.h"

namespace gradus::run {

// The ranks of a run: those of `group`; without one this process alone, which needs none unless its batches have
// shards: then null. Collective; throws invalid_argument on all ranks unless all have the same configuration, version
// and instruction set, which decide bits.
std::unique_ptr<Ranks> make_ranks(std::unique_ptr<comm::Group> group, const ParallelConfig& config,
                                  std::string_view config_toml);

// As Run's constructor and Run::open. `ranks` and `group` may be null. The checkpoint comes to all ranks from the
// first.
Run begin_run(Ranks* ranks, const std::filesystem::path& directory, RunOptions options);
ResumedRun open_run(comm::Group* group, const std::filesystem::path& directory);

// work(), whose Error ends all ranks.
template <class Work>
auto on_all_ranks(Ranks* ranks, Work&& work) {
  try {
    return work();
  } catch (const Error& e) {
    if (ranks != nullptr && e.code() != ErrorCode::interrupted) ranks->abort(e);
    throw;
  }
}

}  // namespace gradus::run
