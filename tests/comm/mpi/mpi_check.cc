// Collectives over MPI, started by mpirun: every algorithm against a serial reference. A program of its own, since MPI
// is initialised once in a process.
//   mpirun -np P mpi_check [mismatch]
// Exit status 0: all is as it should be. With `mismatch` the last rank makes another call than the others, and all must
// say so.
#include <bit>
#include <cstdio>
#include <cstring>

#include "gradus/comm/group.h"
#include "gradus/comm/mpi_transport.h"
#include "gradus/core/rng.h"

namespace {

using namespace gradus;
using namespace gradus::comm;

std::vector<float> vector_of(int rank, int64_t n) {
  Rng rng(7, Purpose::data, static_cast<uint64_t>(rank));
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.below(1000));  // so that sums are exact in any order
  return x;
}

int wrong(Group& group, const std::string& algorithm, int64_t n) {
  std::vector<float> expected(static_cast<size_t>(n), 0.0f);
  for (int r = 0; r < group.size(); ++r) {
    const std::vector<float> x = vector_of(r, n);
    for (size_t i = 0; i < x.size(); ++i) expected[i] += x[i];
  }
  std::vector<float> x = vector_of(group.rank(), n);
  group.force(Operation::all_reduce, algorithm);
  group.all_reduce(std::span(x));
  if (x == expected) return 0;
  std::fprintf(stderr, "rank %d: %s of %lld elements is wrong\n", group.rank(), algorithm.c_str(),
               static_cast<long long>(n));
  return 1;
}

int check_all(Group& group) {
  int failures = 0;
  for (const char* algorithm : {"", "mpi", "ring", "pairwise", "doubling", "rabenseifner", "parameter-server"}) {
    if (std::strcmp(algorithm, "rabenseifner") == 0 && !std::has_single_bit(static_cast<unsigned>(group.size())))
      continue;
    for (const int64_t n : {0, 1, 2, 3, 5, 1009, 300'000}) failures += wrong(group, algorithm, n);
  }
  return failures;
}

int check_mismatch(Group& group) {
  std::vector<float> x(8, 1.0f), y(9, 1.0f);
  try {
    const bool is_last = group.rank() + 1 == group.size();
    group.force(Operation::all_reduce, "pairwise");
    group.all_reduce(is_last ? std::span(y) : std::span(x));
  } catch (const Error& e) {
    const bool named = std::strstr(e.what(), "of 8 f32") != nullptr && std::strstr(e.what(), "of 9 f32") != nullptr;
    if (!named) std::fprintf(stderr, "rank %d: %s\n", group.rank(), e.what());
    std::fprintf(stderr, "rank %d: %s\n", group.rank(), named ? "both calls are named" : "a call is not named");
    return named ? 0 : 1;
  }
  std::fprintf(stderr, "rank %d: no error\n", group.rank());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const bool mismatched = argc > 1 && std::strcmp(argv[1], "mismatch") == 0;
  try {
    Group group(mpi_transport(), {.timeout = std::chrono::seconds(20)});
    return mismatched ? check_mismatch(group) : check_all(group);
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
