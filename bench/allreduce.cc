// `gradus bench allreduce`: collectives over the transports of this machine, by nccl-tests' conventions; and --tune,
// which makes a table of the fastest algorithms.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "bench/bench.h"
#include "bench/collectives.h"
#include "bench/ranks.h"
#include "gradus/core/error.h"
#include "gradus/core/file.h"

namespace gradus::bench {

using comm::Operation;

namespace {

CollectivePlan plan_of(const AllreduceOptions& options) {
  const CollectiveKind kind{
      .operation = options.operation, .op = options.op, .dtype = options.dtype, .ranks = options.ranks};
  CollectivePlan plan{.kind = kind, .algorithm = options.algorithm, .bytes = options.bytes, .rounds = options.rounds};
  if (options.operation == Operation::barrier) plan.bytes = {0};
  const auto element = static_cast<int64_t>(size_of(options.dtype));
  for (int64_t& bytes : plan.bytes) {
    require(bytes >= 0 && bytes <= kLongestVector, "bench allreduce: {} bytes are not from 0 to {}", bytes,
            kLongestVector);
    bytes -= bytes % element;
  }
  return plan;
}

// Calls report(group, result) on rank 0 for each size and algorithm.
void measure(const AllreduceOptions& options,
             const std::function<void(const comm::Group&, const CollectiveResult&)>& report) {
  CollectivePlan plan = plan_of(options);
  std::vector<std::byte*> vectors(static_cast<size_t>(options.ranks));
  const bool share_vectors = options.job == nullptr && options.transport == "threads" && options.ranks > 1;
  if (share_vectors && options.operation == Operation::all_reduce && options.dtype == DType::f32) {
    plan.shared_vectors = vectors;
  }
  run_ranks(options, [&](comm::Group& group) {
    measure_collectives(group, plan, [&](const CollectiveResult& r) { report(group, r); });
  });
}

double rate(double bytes, double seconds) {
  return seconds > 0 ? bytes / seconds * 1e-9 : 0;
}

Row row_of(const AllreduceOptions& options, const CollectiveResult& r) {
  const double algbw = rate(static_cast<double>(r.bytes), r.seconds);
  Row row = {{"transport", options.transport},
             {"algorithm", r.algorithm},
             {"ranks", int64_t{options.ranks}},
             {"dtype", std::string(name(options.dtype))},
             {"bytes", r.bytes},
             {"time_us", r.seconds * 1e6},
             {"algbw_gb_s", algbw},
             {"busbw_gb_s", algbw * bus_factor(options.operation, options.ranks)},
             {"wrong", r.wrong},
             {"operation", std::string(comm::name(options.operation))},
             {"op", std::string(kernels::name(options.op))},
             {"sent_bytes", r.sent_bytes}};
  if (r.stream_seconds > 0) {
    // Every rank's vector is read once and written once.
    const double traffic = 2.0 * options.ranks * static_cast<double>(r.bytes);
    const double got = rate(traffic, r.seconds), most = rate(traffic, r.stream_seconds);
    row.emplace_back("gb_per_s", got);
    row.emplace_back("bandwidth_gb_per_s", most);
    row.emplace_back("share_of_bandwidth", most > 0 ? got / most : 0);
  }
  return row;
}

// The fastest algorithm of each size: of all, and of those in canonical order.
struct Winner {
  int64_t bytes;
  std::string any, canonical;
};

class Tuner {
 public:
  void add(const comm::Group& group, Operation operation, const CollectiveResult& r) {
    if (winners_.empty() || winners_.back().bytes != r.bytes) {
      winners_.push_back({.bytes = r.bytes, .any = "", .canonical = ""});
      any_s_ = canonical_s_ = INFINITY;
    }
    // What won at the size before keeps its place unless it is clearly beaten.
    constexpr double kHandicap = 0.97;
    const Winner* const before = winners_.size() > 1 ? &winners_[winners_.size() - 2] : nullptr;
    const auto handicapped = [&](const std::string& incumbent) {
      return before != nullptr && incumbent == r.algorithm ? r.seconds * kHandicap : r.seconds;
    };
    Winner& w = winners_.back();
    if (const double s = handicapped(before ? before->any : ""); s < any_s_) {
      any_s_ = s;
      w.any = r.algorithm;
    }
    if (!group.selection().canonical(operation, r.algorithm)) return;
    if (const double s = handicapped(before ? before->canonical : ""); s < canonical_s_) {
      canonical_s_ = s;
      w.canonical = r.algorithm;
    }
  }

  // One rule, or two where orders differ, up to the middle between sizes of different winners.
  std::vector<comm::Rule> rules(const std::string& transport, Operation operation, int ranks) const {
    std::vector<comm::Rule> rules;
    for (size_t i = 0; i < winners_.size(); ++i) {
      const Winner& w = winners_[i];
      const bool last = i + 1 == winners_.size();
      if (!last && winners_[i + 1].any == w.any && winners_[i + 1].canonical == w.canonical) continue;
      const auto most = last ? INT64_MAX
                             : static_cast<int64_t>(std::sqrt(static_cast<double>(w.bytes) *
                                                              static_cast<double>(winners_[i + 1].bytes)));
      rules.push_back({transport, operation, ranks, most, w.any});
      if (!w.canonical.empty() && w.canonical != w.any)
        rules.push_back({transport, operation, ranks, most, w.canonical});
    }
    return rules;
  }

 private:
  std::vector<Winner> winners_;
  double any_s_ = 0, canonical_s_ = 0;
};

}  // namespace

const std::vector<std::string>& allreduce_transports() {
  return rank_transports();
}

std::vector<int64_t> parse_sizes(std::string_view text) {
  const auto size = [&](std::string_view word) {
    int64_t bytes = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), bytes);
    const std::string_view unit(end, word.data() + word.size());
    const int shift = unit == "" || unit == "B" ? 0 : unit == "KiB" ? 10 : unit == "MiB" ? 20 : unit == "GiB" ? 30 : -1;
    require(error == std::errc() && bytes >= 0 && shift >= 0 && bytes <= kLongestVector >> std::max(shift, 0),
            "'{}' is no size from 0 to {}GiB; write 8, 64KiB, 1MiB or a range 8..64MiB", text, kLongestVector >> 30);
    return bytes << shift;
  };
  const size_t dots = text.find("..");
  if (dots == text.npos) return {size(text)};
  const int64_t first = size(text.substr(0, dots)), last = size(text.substr(dots + 2));
  require(first > 0 && first <= last, "'{}' does not ascend from a size above 0", text);
  std::vector<int64_t> sizes;
  for (int64_t bytes = first; bytes < last; bytes *= 2) sizes.push_back(bytes);
  sizes.push_back(last);
  return sizes;
}

bool allreduce(const AllreduceOptions& options, const Sink& sink) {
  int64_t wrong = 0;
  measure(options, [&](const comm::Group&, const CollectiveResult& r) {
    wrong += r.wrong;
    sink(row_of(options, r));
  });
  return wrong == 0;
}

void allreduce_tune(const AllreduceOptions& options, const std::filesystem::path& file, const Sink& sink) {
  require(options.ranks >= 2, "bench allreduce: one rank has nothing to choose from; give --ranks 2 or more");
  std::vector<comm::Rule> table;
  for (const Operation operation : {Operation::all_reduce, Operation::reduce_scatter, Operation::all_gather,
                                    Operation::broadcast, Operation::gather, Operation::all_to_all}) {
    AllreduceOptions one = options;
    one.operation = operation;
    one.algorithm = "all";
    std::ranges::sort(one.bytes);
    Tuner tuner;
    measure(one, [&](const comm::Group& group, const CollectiveResult& r) { tuner.add(group, operation, r); });
    for (const comm::Rule& rule : tuner.rules(options.transport, operation, options.ranks)) {
      sink({{"operation", std::string(comm::name(operation))},
            {"transport", rule.transport},
            {"ranks", int64_t{rule.ranks}},
            {"most_bytes", rule.most_bytes},
            {"algorithm", rule.algorithm}});
      table.push_back(rule);
    }
  }
  if (is_first_rank(options)) write_file_atomically(file, comm::to_json(table));
}

}  // namespace gradus::bench
