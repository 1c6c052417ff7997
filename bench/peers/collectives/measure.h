// What `gradus bench allreduce` measures, for a peer: median over rounds of the mean of the slowest rank, and a check.
// Prints one JSON line per size.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

struct Arguments {
  int rounds = 5;
  std::vector<int64_t> bytes;
};

// PROGRAM [--rounds N] BYTES...
inline Arguments parse_arguments(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--rounds" && i + 1 < argc) {
      a.rounds = std::max(1, std::atoi(argv[++i]));
    } else {
      a.bytes.push_back(std::atoll(argv[i]));
    }
  }
  return a;
}

// The peer's functions, for one rank:
//   prepare(x)      what a call on this vector needs
//   sum()           the all-reduce of that vector, in place
//   barrier()
//   max(x), of doubles: their greatest over all ranks, in place
template <class Peer>
void measure(Peer& peer, const char* name, int rank, int size, const Arguments& arguments) {
  using Clock = std::chrono::steady_clock;
  const auto seconds_of = [&](int64_t repeats) {
    peer.barrier();
    const auto start = Clock::now();
    for (int64_t i = 0; i < repeats; ++i) peer.sum();
    return std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(repeats);
  };
  for (const int64_t bytes : arguments.bytes) {
    const auto n = static_cast<size_t>(bytes) / sizeof(float);
    std::vector<float> x(n);
    const auto value = [&](int r, size_t i) { return static_cast<float>((i + static_cast<size_t>(r)) % 3 + 1); };
    for (size_t i = 0; i < n; ++i) x[i] = value(rank, i);
    peer.prepare(x);
    peer.sum();
    double wrong = 0;
    for (size_t i = 0; i < n; ++i) {
      float want = 0;
      for (int r = 0; r < size; ++r) want += value(r, i);
      wrong += x[i] != want;
    }
    seconds_of(1);
    std::vector<double> pace = {seconds_of(5)};
    peer.max(pace);
    const auto repeats = std::clamp<int64_t>(static_cast<int64_t>(5e-3 / pace[0]), 1, 20'000);
    std::vector<double> seconds;
    for (int round = 0; round < arguments.rounds; ++round) seconds.push_back(seconds_of(repeats));
    seconds.push_back(wrong);
    peer.max(seconds);
    wrong = seconds.back();
    seconds.pop_back();
    std::sort(seconds.begin(), seconds.end());
    if (rank == 0) {
      std::printf("{\"peer\": \"%s\", \"ranks\": %d, \"bytes\": %lld, \"time_us\": %.4f, \"wrong\": %.0f}\n", name,
                  size, static_cast<long long>(bytes), seconds[seconds.size() / 2] * 1e6, wrong);
      std::fflush(stdout);
    }
  }
}
