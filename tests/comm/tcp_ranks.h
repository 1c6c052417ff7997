// Ranks of a test that meet over loopback: threads of this process with connections of their own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "gradus/comm/connect.h"
#include "gradus/comm/socket.h"
#include "tests/comm/ranks.h"

namespace gradus::comm {

// What a launcher would tell each of P ranks of this host.
inline std::vector<Environment> environments(int P, const std::string& address = "127.0.0.1") {
  const int port = free_port(address);
  std::vector<Environment> all;
  for (int r = 0; r < P; ++r) {
    Environment e{.launcher = "variables", .rank = r, .size = P, .local_rank = r, .local_size = P};
    e.master_address = address;
    e.master_port = port;
    e.token = "the token of the test";
    all.push_back(e);
  }
  return all;
}

// body(rank) on each of P ranks at once. Returns what each threw, "" for nothing.
inline std::vector<std::string> run_each(int P, const std::function<void(int rank)>& body) {
  std::vector<std::string> errors(static_cast<size_t>(P));
  std::vector<std::thread> threads;
  for (int r = 0; r < P; ++r) {
    threads.emplace_back([&, r] {
      try {
        body(r);
      } catch (const std::exception& e) {
        errors[static_cast<size_t>(r)] = e.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  return errors;
}

inline std::vector<std::string> run_connected(int P, const GroupOptions& options, const ConnectOptions& how,
                                              const std::function<void(Group&)>& body) {
  const std::vector<Environment> all = environments(P);
  return run_each(P, [&](int r) {
    const std::unique_ptr<Group> group = connect(all[static_cast<size_t>(r)], options, how);
    body(*group);
  });
}

inline std::vector<std::string> run_tcp(int P, const GroupOptions& options, const std::function<void(Group&)>& body) {
  return run_connected(P, options, {.transport = "tcp"}, body);
}

}  // namespace gradus::comm
