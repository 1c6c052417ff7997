#include "bench/collectives.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

#include "bench/machine_loops.h"
#include "gradus/core/error.h"

namespace gradus::bench {

using comm::Buffer;
using comm::Group;
using comm::Operation;
using kernels::ReduceOp;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class T>
Buffer one(T& x) {
  return Buffer(std::span(&x, 1));
}

// The vectors of one size.
class Vectors {
 public:
  Vectors(const CollectiveKind& kind, int rank, int64_t count) : kind_(kind), rank_(rank), count_(count) {
    x_ = Tensor::empty({count}, kind.dtype);
    if (kind.operation == Operation::all_to_all) y_ = Tensor::empty({count}, kind.dtype);
    refill();
  }

  void refill() { fill_input(kind_, rank_, 0, count_, static_cast<std::byte*>(x_.raw())); }
  std::byte* data() { return static_cast<std::byte*>(x_.raw()); }

  void call(Group& group) {
    switch (kind_.operation) {
      case Operation::all_reduce:
        return group.all_reduce(x_, kind_.op);
      case Operation::reduce_scatter:
        return group.reduce_scatter(x_, kind_.op);
      case Operation::all_gather:
        return group.all_gather(Buffer(x_));
      case Operation::broadcast:
        return group.broadcast(x_);
      case Operation::gather:
        return group.gather(x_);
      case Operation::all_to_all:
        return group.all_to_all(x_, y_);
      case Operation::barrier:
      case Operation::none:
        return group.barrier();
    }
  }

  int64_t wrong() {
    const Tensor& result = kind_.operation == Operation::all_to_all ? y_ : x_;
    return count_wrong(kind_, rank_, static_cast<const std::byte*>(result.raw()), count_);
  }

 private:
  CollectiveKind kind_;
  int rank_;
  int64_t count_;
  Tensor x_, y_;
};

// What is measured of one size in turns: each algorithm, then the loop without communication.
class Turns {
 public:
  Turns(Group& group, const CollectivePlan& plan, int64_t bytes)
      : group_(group), plan_(plan), count_(whole_count(plan, bytes)), vectors_(plan.kind, group.rank(), count_) {
    if (!plan.shared_vectors.empty()) {
      plan.shared_vectors[static_cast<size_t>(group.rank())] = vectors_.data();
    }
  }

  // Elements that fit, in equal slices where the operation needs them.
  static int64_t whole_count(const CollectivePlan& plan, int64_t bytes) {
    const auto count = bytes / static_cast<int64_t>(size_of(plan.kind.dtype));
    return plan.kind.operation == Operation::all_to_all ? count - count % plan.kind.ranks : count;
  }

  std::vector<CollectiveResult> measure(const std::vector<std::string>& algorithms) {
    std::vector<CollectiveResult> results;
    std::vector<int64_t> repeats;
    for (const std::string& algorithm : algorithms) {
      results.push_back(check(algorithm));
      repeats.push_back(repeats_of(algorithm, [&] { vectors_.call(group_); }));
    }
    const bool streams = !plan_.shared_vectors.empty();
    if (streams) repeats.push_back(repeats_of("", [&] { stream(); }));

    const size_t n = repeats.size();
    std::vector<double> seconds(n * static_cast<size_t>(plan_.rounds));
    for (int round = 0; round < plan_.rounds; ++round) {
      for (size_t i = 0; i < n; ++i) {
        force(i < algorithms.size() ? algorithms[i] : "");
        group_.barrier();
        const auto start = Clock::now();
        for (int64_t k = 0; k < repeats[i]; ++k) {
          if (i < algorithms.size()) {
            vectors_.call(group_);
          } else {
            stream();
          }
        }
        seconds[i * static_cast<size_t>(plan_.rounds) + static_cast<size_t>(round)] =
            seconds_since(start) / static_cast<double>(repeats[i]);
      }
    }
    force("");
    group_.all_reduce(std::span(seconds), ReduceOp::max);  // the slowest rank's
    const auto median = [&](size_t i) {
      const auto first = seconds.begin() + static_cast<std::ptrdiff_t>(i) * plan_.rounds;
      std::ranges::sort(first, first + plan_.rounds);
      return first[plan_.rounds / 2];
    };
    for (size_t i = 0; i < results.size(); ++i) {
      results[i].seconds = median(i);
      if (streams) results[i].stream_seconds = median(n - 1);
    }
    return results;
  }

 private:
  void force(const std::string& algorithm) { group_.force(plan_.kind.operation, algorithm == "auto" ? "" : algorithm); }

  CollectiveResult check(const std::string& algorithm) {
    vectors_.refill();
    force(algorithm);
    const int64_t before = group_.traffic().bytes_sent;
    vectors_.call(group_);
    CollectiveResult result{.algorithm = algorithm,
                            .bytes = count_ * static_cast<int64_t>(size_of(plan_.kind.dtype)),
                            .sent_bytes = group_.traffic().bytes_sent - before,
                            .wrong = vectors_.wrong()};
    if (algorithm == "auto") result.algorithm = group_.recorder().entries().back().algorithm;
    force("");
    group_.all_reduce(one(result.wrong));
    group_.all_reduce(one(result.sent_bytes), ReduceOp::max);
    force(algorithm);
    return result;
  }

  // How often body() runs in about 5 ms, on the rank where it takes longest.
  template <class Body>
  int64_t repeats_of(const std::string& algorithm, const Body& body) {
    constexpr double kSeconds = 5e-3;
    int64_t repeats = 0;
    for (const int trials : {1, 5}) {
      force(algorithm);
      group_.barrier();
      const auto start = Clock::now();
      for (int i = 0; i < trials; ++i) body();
      const double seconds = seconds_since(start) / trials;
      repeats = std::clamp<int64_t>(static_cast<int64_t>(kSeconds / seconds), 1, 20'000);
      group_.barrier();
      force("");
      group_.all_reduce(one(repeats), ReduceOp::min);
      if (repeats == 1) break;  // so long that more trials say no more
    }
    return repeats;
  }

  void stream() {
    const auto& xs = plan_.shared_vectors;
    const std::vector<int64_t> bounds = comm::even_bounds(count_, group_.size());
    float* arrays[kMostRanks];
    for (size_t r = 0; r < xs.size(); ++r) arrays[r] = reinterpret_cast<float*>(xs[r]);
    const auto r = static_cast<size_t>(group_.rank());
    sum_loop(std::span(arrays, xs.size()), bounds[r], bounds[r + 1]);
  }

  static constexpr size_t kMostRanks = 64;
  Group& group_;
  const CollectivePlan& plan_;
  int64_t count_;
  Vectors vectors_;
};

}  // namespace

void measure_collectives(Group& group, const CollectivePlan& plan,
                         const std::function<void(const CollectiveResult&)>& report) {
  const Operation operation = plan.kind.operation;
  if (plan.algorithm != "all" && plan.algorithm != "auto") {
    const std::vector<std::string> names = group.selection().names(operation);
    require(std::ranges::find(names, plan.algorithm) != names.end(),
            "bench allreduce: {} over {} of {} ranks has no algorithm {}; give all, auto, {}", name(operation),
            group.transport_name(), group.size(), plan.algorithm, fmt::join(names, ", "));
  }
  for (const int64_t bytes : plan.bytes) {
    std::vector<std::string> algorithms = {plan.algorithm};
    if (plan.algorithm == "all") algorithms = group.selection().names(operation, static_cast<size_t>(bytes));
    Turns turns(group, plan, bytes);
    group.barrier();  // all shared vectors are there
    const std::vector<CollectiveResult> results = turns.measure(algorithms);
    group.barrier();  // and nobody reads them any more
    if (group.rank() == 0) std::ranges::for_each(results, report);
  }
}

double bus_factor(Operation operation, int ranks) {
  const double P = ranks;
  switch (operation) {
    case Operation::all_reduce:
      return 2 * (P - 1) / P;
    case Operation::reduce_scatter:
    case Operation::all_gather:
    case Operation::all_to_all:
      return (P - 1) / P;
    default:
      return 1;
  }
}

}  // namespace gradus::bench
