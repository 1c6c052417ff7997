#include "bench/ranks.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <exception>

#include "gradus/comm/thread_transport.h"
#include "gradus/core/error.h"
#include "gradus/runtime/thread.h"

namespace gradus::bench {

using comm::Group;

namespace {

using Body = std::function<void(Group&)>;

void run_rank(std::unique_ptr<comm::Transport> transport, const Body& body) {
  Group group(std::move(transport));
  try {
    body(group);
  } catch (const Error& e) {
    group.abort(e);
    throw;
  } catch (const std::exception& e) {
    group.abort(Error(ErrorCode::peer_lost, fmt::format("bench: rank {}: {}", group.rank(), e.what())));
    throw;
  }
}

void run_threads(int ranks, const Body& body) {
  const comm::ThreadWorld world(ranks);
  std::vector<std::exception_ptr> errors(static_cast<size_t>(ranks));
  const auto rank = [&](int r) {
    try {
      run_rank(world.transport(r), body);
    } catch (...) {
      errors[static_cast<size_t>(r)] = std::current_exception();
    }
  };
  std::vector<runtime::Thread> threads;
  for (int r = 1; r < ranks; ++r) threads.emplace_back("rank", r, [&rank, r](std::stop_token) { rank(r); });
  rank(0);
  for (runtime::Thread& t : threads) t.join();
  for (const std::exception_ptr& e : errors) {
    if (e != nullptr) std::rethrow_exception(e);
  }
}

}  // namespace

const std::vector<std::string>& rank_transports() {
  static const std::vector<std::string> names = {"threads"};
  return names;
}

void run_ranks(const std::string& transport, int ranks, const Body& body) {
  require(std::ranges::find(rank_transports(), transport) != rank_transports().end(),
          "bench: there is no transport {}; there are {}", transport, fmt::join(rank_transports(), ", "));
  require(ranks >= 1 && ranks <= 64, "bench: {} ranks are not from 1 to 64", ranks);
  run_threads(ranks, body);
}

}  // namespace gradus::bench
