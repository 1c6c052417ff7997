// Ranks of a test: threads of this process.
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "gradus/comm/group.h"
#include "gradus/comm/thread_transport.h"

namespace gradus::comm {

using MakeTransport = std::function<std::unique_ptr<Transport>(int rank)>;

// body(group) on each of P ranks at once. Returns what each rank threw, "" for nothing.
inline std::vector<std::string> run_ranks(int P, const MakeTransport& make, const GroupOptions& options,
                                          const std::function<void(Group&)>& body) {
  std::vector<std::string> errors(static_cast<size_t>(P));
  std::vector<std::thread> threads;
  for (int r = 0; r < P; ++r) {
    threads.emplace_back([&, r] {
      try {
        Group group(make(r), options);
        body(group);
      } catch (const std::exception& e) {
        errors[static_cast<size_t>(r)] = e.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  return errors;
}

inline std::vector<std::string> run_threads(int P, const GroupOptions& options,
                                            const std::function<void(Group&)>& body) {
  const ThreadWorld world(P);
  return run_ranks(
      P, [&](int r) { return world.transport(r); }, options, body);
}

}  // namespace gradus::comm
