// The processes that train one model together, as a training loop sees them: which part of the work is this one's, how
// results become everybody's, and a thread that adds up gradients while the backward pass goes on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gradus/comm/group.h"
#include "gradus/core/error.h"
#include "gradus/runtime/queue.h"
#include "gradus/runtime/thread.h"

namespace gradus::run {

// What a run keeps in its configuration about several ranks.
struct ParallelConfig {
  int64_t shards = 0;        // gradients are sums over so many parts of a batch; 0: one per rank
  int64_t zero = 0;          // 0, 1, 2: what is cut over ranks
  std::string wire = "f32";  // what gradients travel in
  double bucket_mb = 16;

  template <class F>
  void fields(F& f) {
    f("shards", shards,
      "a batch's gradient is a sum of so many parts in a fixed tree: any number of ranks that "
      "divides it into powers of two gives the same bits; 0 = one per rank");
    f("zero", zero, "1: each rank keeps and updates its share of the optimiser's state; 2: of the gradients too");
    f("wire", wire, "f32, or bf16: gradients are rounded to it on their way between ranks");
    f("bucket_mb", bucket_mb, "gradients of so many MB are added up over ranks at a time");
  }

  // Throws invalid_argument on values that make no sense, alone or for so many ranks.
  void check(int n_ranks) const;
};

class Ranks {
 public:
  // Throws invalid_argument when `config` is not for so many ranks.
  Ranks(std::unique_ptr<comm::Group> group, const ParallelConfig& config);
  ~Ranks();

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_first() const { return rank_ == 0; }
  // Files about this rank go there from now on: RUN/comm (comm/monitor.h).
  void report_to(const std::filesystem::path& folder);
  std::string about() const;  // a line for the user: "4 ranks over tcp, 8 shards"
  const ParallelConfig& config() const { return config_; }

  // Of a batch: this rank computes [first_shard(), first_shard() + shards() / size()).
  int64_t shards() const { return shards_; }
  int64_t first_shard() const { return shards_ * rank_ / size_; }

  // Runs work(group) on the communication thread, after all that was posted before. `work` throws what wait() throws.
  void post(std::function<void(comm::Group&)> work);
  // Returns when all that was posted is done. Throws its first error.
  void wait();

  // This rank cannot go on: all others end with its error, wherever they are. Never throws.
  void abort(const Error& error) noexcept;

  // For collective calls on the calling thread: waits for what was posted first.
  comm::Group& group();

  // Each value was written by one rank, and is 0 on the others; afterwards all have it.
  void merge(std::span<double> values);
  // Whether it is true on any rank.
  bool any(bool mine);
  // The strings of all ranks.
  std::vector<std::string> gather(std::string_view mine);

 private:
  struct State;
  ParallelConfig config_;
  int rank_, size_;
  int64_t shards_;
  std::unique_ptr<State> state_;
};

// Where n items are cut for `n_parts` workers: sizes differ by at most one. [n_parts + 1]
std::vector<int64_t> even_parts(int64_t n, int64_t n_parts);

// Where items of these weights are cut into parts of about equal weight. [n_parts + 1]; depends on nothing else.
std::vector<int64_t> balanced_parts(std::span<const int64_t> weights, int64_t n_parts);

}  // namespace gradus::run
