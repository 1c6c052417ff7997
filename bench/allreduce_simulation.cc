// `gradus bench allreduce --simulate`: the algorithms' schedules on a virtual clock, by what messages, reductions and
// copies cost here.
#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "bench/bench.h"
#include "bench/collectives.h"
#include "bench/ranks.h"
#include "gradus/comm/hierarchical.h"
#include "gradus/comm/simulation.h"
#include "gradus/core/error.h"

namespace gradus::bench {

using comm::Operation;

namespace {

// The costs of a transport, and what a call costs beside its messages.
struct Calibration {
  comm::NetworkModel model;
  double call_s = 0;
};

double simulated_seconds(const comm::Algorithm& algorithm, int ranks, int64_t bytes, const Calibration& c) {
  const auto element = static_cast<int64_t>(sizeof(float));
  int64_t count = bytes / element;
  if (algorithm.operation == Operation::all_to_all) count -= count % ranks;
  const comm::SimulationJob job{.ranks = ranks, .count = count, .element = sizeof(float)};
  return c.call_s + comm::simulate(algorithm, job, c.model).seconds;
}

// Between ranks 0 and 1; rank 0's counts. What a call costs beside its messages shows where there are no other ranks;
// elsewhere it is left out.
Calibration measure_costs(comm::Group& group, std::span<const size_t> sizes) {
  Calibration c{.model = comm::calibrate(group, sizes)};
  if (group.size() > 2) return c;
  const CollectivePlan plan{.kind = {.ranks = 2}, .algorithm = "doubling", .bytes = {8}, .rounds = 3};
  double doubling_s = 0;
  measure_collectives(group, plan, [&](const CollectiveResult& r) { doubling_s = r.seconds; });
  if (group.rank() != 0) return c;
  // What is more than its one exchange and addition.
  const comm::Algorithm& doubling = comm::find_algorithm(Operation::all_reduce, "doubling");
  c.call_s = std::max(0.0, doubling_s - simulated_seconds(doubling, 2, 8, c));
  return c;
}

double slope_ns(const comm::Curve& curve, size_t bytes) {
  return (curve(bytes) - curve(bytes / 2)) / static_cast<double>(bytes / 2) * 1e9;
}

Row row_of(const std::string& transport, const Calibration& c) {
  constexpr size_t kAt = 256 << 10;  // within the caches
  return {{"simulated", true},
          {"transport", transport},
          {"call_us", c.call_s * 1e6},
          {"alpha_us", c.model.local.both_ways(8) * 1e6},
          {"beta_ns_per_byte", slope_ns(c.model.local.both_ways, kAt)},
          {"gamma_ns_per_byte", slope_ns(c.model.reduce, kAt)},
          {"copy_ns_per_byte", slope_ns(c.model.copy, kAt)}};
}

void check(const AllreduceOptions& options) {
  require(options.dtype == DType::f32, "bench allreduce: what is simulated is f32, not {}", name(options.dtype));
  for (const int64_t bytes : options.bytes) {
    require(bytes >= 0 && bytes <= kLongestVector, "bench allreduce: {} bytes are not from 0 to {}", bytes,
            kLongestVector);
  }
}

// Sizes of messages that make the model: 8 bytes to the largest vector, or 64 MiB.
std::vector<size_t> message_sizes(const AllreduceOptions& options) {
  constexpr size_t kMost = size_t{64} << 20, kLeast = size_t{1} << 20;
  size_t most = kLeast;
  for (const int64_t bytes : options.bytes) most = std::max(most, static_cast<size_t>(bytes));
  std::vector<size_t> sizes;
  for (size_t bytes = 8; bytes <= std::min(most, kMost); bytes *= 2) sizes.push_back(bytes);
  return sizes;
}

// Those of the messages that the algorithms make of a vector: a slice, a half, all. And 8 bytes, by which the costs of
// a call are told from those of its messages.
std::vector<size_t> message_sizes(int64_t bytes, int ranks) {
  const size_t n = static_cast<size_t>(bytes), slice = n / static_cast<size_t>(ranks);
  std::set<size_t> sizes = {8};
  for (const size_t size : {slice - slice % sizeof(float), n / 2, n}) sizes.insert(std::max(size, sizeof(float)));
  return {sizes.begin(), sizes.end()};
}

bool wanted(const AllreduceOptions& options, std::string_view algorithm) {
  return options.algorithm == "all" || options.algorithm == algorithm;
}

}  // namespace

void allreduce_simulate(const SimulateOptions& options, const Sink& sink) {
  const AllreduceOptions& o = options.measured;
  if (o.algorithm != "all") comm::find_algorithm(o.operation, o.algorithm);
  check(o);
  Calibration c;
  AllreduceOptions calibrated = o;
  if (o.job == nullptr) calibrated.ranks = 2;
  run_ranks(calibrated, [&](comm::Group& group) {
    const Calibration mine = measure_costs(group, message_sizes(o));
    if (group.rank() == 0) c = mine;
  });
  if (!is_first_rank(o)) return;
  sink(row_of(o.transport, c));
  if (options.ranks_per_host > 0) {
    const comm::Curve message(options.remote_latency_us * 1e-6, 1e-9 / options.remote_gb_per_s);
    c.model.remote = {.both_ways = message, .one_way = message};
  }
  for (const int ranks : options.ranks) {
    c.model.host_of.clear();
    for (int r = 0; options.ranks_per_host > 0 && r < ranks; ++r) c.model.host_of.push_back(r / options.ranks_per_host);
    for (const int64_t bytes : o.bytes) {
      for (const comm::Algorithm& a : comm::algorithms()) {
        if (a.operation != o.operation || !wanted(o, a.name)) continue;
        if (a.powers_of_two_only && !std::has_single_bit(static_cast<unsigned>(ranks))) continue;
        if (a.between_hosts && (c.model.host_of.empty() || !comm::hierarchical_is_possible(c.model.host_of))) continue;
        const double seconds = simulated_seconds(a, ranks, bytes, c);
        const double algbw = seconds > 0 ? static_cast<double>(bytes) / seconds * 1e-9 : 0;
        sink({{"simulated", true},
              {"transport", o.transport},
              {"algorithm", std::string(a.name)},
              {"ranks", int64_t{ranks}},
              {"dtype", std::string("f32")},
              {"bytes", bytes},
              {"time_us", seconds * 1e6},
              {"algbw_gb_s", algbw},
              {"busbw_gb_s", algbw * bus_factor(o.operation, ranks)},
              {"operation", std::string(comm::name(o.operation))},
              {"ranks_per_host", int64_t{options.ranks_per_host}}});
      }
    }
  }
}

bool allreduce_validate(const SimulateOptions& options, const Sink& sink) {
  const AllreduceOptions& o = options.measured;
  require(o.ranks >= 2, "bench allreduce: one rank sends no messages; give --ranks 2 or more");
  check(o);
  bool all_within = true;
  run_ranks(o, [&](comm::Group& group) {
    for (const int64_t bytes : o.bytes) {
      // A machine's state changes (which processors share caches, who else uses the memory): so calibration and
      // measurement take turns too.
      const CollectivePlan plan{.kind = {.operation = o.operation, .op = o.op, .ranks = o.ranks},
                                .algorithm = o.algorithm,
                                .bytes = {bytes},
                                .rounds = 1};
      const std::vector<size_t> sizes = message_sizes(bytes, o.ranks);
      struct Times {
        const comm::Algorithm* algorithm;
        std::vector<double> measured, simulated, error;
      };
      std::vector<Times> times;
      for (int round = 0; round < o.rounds; ++round) {
        const Calibration c = measure_costs(group, sizes);
        size_t i = 0;
        measure_collectives(group, plan, [&](const CollectiveResult& r) {
          for (const comm::Algorithm& a : comm::algorithms()) {  // what a transport does itself has no schedule
            if (a.operation != o.operation || a.name != r.algorithm) continue;
            if (i == times.size()) times.push_back({.algorithm = &a, .measured = {}, .simulated = {}, .error = {}});
            const double simulated = simulated_seconds(a, o.ranks, r.bytes, c);
            times[i].measured.push_back(r.seconds);
            times[i].simulated.push_back(simulated);
            times[i].error.push_back(simulated / r.seconds - 1);
            ++i;
          }
        });
      }
      for (Times& t : times) {
        const auto median = [](std::vector<double>& x) {
          std::ranges::sort(x);
          return x[x.size() / 2];
        };
        const double error = median(t.error), allowed = bytes >= (64 << 10) ? 0.15 : 0.30;
        all_within = all_within && std::abs(error) <= allowed;
        sink({{"transport", o.transport},
              {"algorithm", std::string(t.algorithm->name)},
              {"ranks", int64_t{o.ranks}},
              {"bytes", bytes},
              {"measured_us", median(t.measured) * 1e6},
              {"simulated_us", median(t.simulated) * 1e6},
              {"error", error},
              {"allowed", allowed},
              {"within", std::abs(error) <= allowed}});
      }
    }
  });
  return all_within;
}

}  // namespace gradus::bench
