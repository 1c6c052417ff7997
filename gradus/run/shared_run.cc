#include "gradus/run/shared_run.h"

#include <nlohmann/json.hpp>

#include "gradus/comm/thread_transport.h"
#include "gradus/core/json.h"
#include "gradus/kernels/isa.h"

namespace gradus::run {

namespace {

using nlohmann::json;

// All of a checkpoint but its numbers.
json describe(const ResumedRun& resumed) {
  const Checkpoint& c = resumed.checkpoint;
  json tensors = json::object();
  for (const auto& [file, named] : c.tensors) {
    for (const auto& [name, t] : named) {
      json shape = json::array();
      for (int i = 0; i < t.rank(); ++i) shape.push_back(t.dim(i));
      tensors[file].push_back({{"name", name}, {"dtype", static_cast<int>(t.dtype())}, {"shape", shape}});
    }
  }
  return {{"config", resumed.run.config_toml()},
          {"seed", resumed.run.seed()},
          {"last_step", resumed.run.last_step()},
          {"record", to_json(resumed.run.record())},
          {"step", c.step},
          {"score", c.score ? json(*c.score) : json(nullptr)},
          {"state", c.state},
          {"files", c.files},
          {"tensors", tensors}};
}

ResumedRun follow(const std::filesystem::path& directory, const json& j) {
  constexpr std::string_view kOrigin = "the first rank";
  Checkpoint c{.step = j.at("step").get<int64_t>(),
               .score = j.at("score").is_null() ? std::nullopt : std::optional(j.at("score").get<double>()),
               .state = j.at("state").get<std::string>(),
               .tensors = {},
               .files = j.at("files").get<std::map<std::string, std::string>>(),
               .marks = {}};
  for (const auto& [file, list] : j.at("tensors").items()) {
    for (const json& t : list) {
      const auto dims = t.at("shape").get<std::vector<int64_t>>();
      c.tensors[file].emplace_back(t.at("name").get<std::string>(),
                                   Tensor::empty(Shape(dims), static_cast<DType>(t.at("dtype").get<int>())));
    }
  }
  RunOptions options{.seed = j.at("seed").get<uint64_t>(),
                     .config_toml = j.at("config").get<std::string>(),
                     .record = parse_record(j.at("record"), kOrigin)};
  return {Run::follower(directory, std::move(options), j.at("last_step").get<int64_t>()), std::move(c)};
}

}  // namespace

std::unique_ptr<Ranks> make_ranks(std::unique_ptr<comm::Group> group, const ParallelConfig& config,
                                  std::string_view config_toml) {
  if (!group || group->size() == 1) {
    if (config.shards <= 1) {
      config.check(1);
      return nullptr;
    }
    if (!group) group = std::make_unique<comm::Group>(comm::ThreadWorld(1).transport(0));
  }
  auto ranks = std::make_unique<Ranks>(std::move(group), config);
  const std::string mine = fmt::format("version {}, instruction set {}, configuration:\n{}", git_commit(),
                                       kernels::name(kernels::active_isa()), config_toml);
  const std::vector<std::string> all = ranks->gather(mine);
  for (size_t r = 1; r < all.size(); ++r) {
    if (all[r] == all[0]) continue;
    const auto [a, b] = std::ranges::mismatch(all[0], all[r]);
    const auto line = [](const std::string& text, auto at) {
      const auto offset = static_cast<size_t>(at - text.begin());
      const size_t begin = offset == 0 ? 0 : text.rfind('\n', offset - 1) + 1;
      return text.substr(begin, text.find('\n', offset) - begin);
    };
    fail(ErrorCode::invalid_argument, "ranks differ: rank 0 has '{}', but rank {} has '{}'; start all with one command",
         line(all[0], a), r, line(all[r], b));
  }
  return ranks;
}

Run begin_run(Ranks* ranks, const std::filesystem::path& directory, RunOptions options) {
  if (ranks == nullptr || ranks->is_first()) {
    Run run(directory, std::move(options));
    if (ranks != nullptr) ranks->group().barrier();
    return run;
  }
  ranks->group().barrier();  // the first may have refused
  return Run::follower(directory, std::move(options));
}

ResumedRun open_run(comm::Group* group, const std::filesystem::path& directory) {
  if (group == nullptr) return Run::open(directory);
  std::optional<ResumedRun> resumed;
  std::string text;
  if (group->rank() == 0) {
    try {
      resumed.emplace(Run::open(directory));
    } catch (const Error& e) {
      group->abort(e);
      throw;
    }
    text = write_json(describe(*resumed));
  }
  text = group->all_gather(text).front();
  if (group->rank() != 0) resumed.emplace(follow(directory, parse_json(text, "the first rank")));
  for (auto& [file, named] : resumed->checkpoint.tensors) {
    for (auto& [name, tensor] : named) group->broadcast(tensor);
  }
  return std::move(*resumed);
}

}  // namespace gradus::run
