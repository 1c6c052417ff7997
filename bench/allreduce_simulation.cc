// `gradus bench allreduce --simulate`: the algorithms' schedules on a virtual clock, by what messages, reductions and
// copies cost here.
#include <bit>
#include <chrono>
#include <cmath>

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

Calibration calibrate(const std::string& transport, int64_t most_bytes) {
  Calibration c;
  run_ranks(transport, 2, [&](comm::Group& group) {
    const comm::NetworkModel model = comm::calibrate(group.transport(), static_cast<size_t>(most_bytes));
    if (group.rank() == 0) c.model = model;
  });
  run_ranks(transport, 1, [&](comm::Group& group) {
    constexpr int kCalls = 20'000;
    float x = 1;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) group.all_reduce(std::span(&x, 1));
    c.call_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / kCalls;
  });
  return c;
}

double slope_ns(const comm::Curve& curve, size_t bytes) {
  return (curve(bytes) - curve(bytes / 2)) / static_cast<double>(bytes / 2) * 1e9;
}

Row row_of(const std::string& transport, const Calibration& c) {
  constexpr size_t kAt = 1 << 20;
  return {{"simulated", true},
          {"transport", transport},
          {"call_us", c.call_s * 1e6},
          {"alpha_us", c.model.local(8) * 1e6},
          {"beta_ns_per_byte", slope_ns(c.model.local, kAt)},
          {"gamma_ns_per_byte", slope_ns(c.model.reduce, kAt)},
          {"copy_ns_per_byte", slope_ns(c.model.copy, kAt)}};
}

double simulated_seconds(const comm::Algorithm& algorithm, int ranks, int64_t bytes, const Calibration& c) {
  const auto element = static_cast<int64_t>(sizeof(float));
  int64_t count = bytes / element;
  if (algorithm.operation == Operation::all_to_all) count -= count % ranks;
  return c.call_s +
         comm::simulate(algorithm, {.ranks = ranks, .count = count, .element = sizeof(float)}, c.model).seconds;
}

int64_t most_bytes(const AllreduceOptions& options) {
  require(!options.bytes.empty() && options.dtype == DType::f32,
          "bench allreduce: what is simulated is f32; give --dtype f32");
  int64_t most = 1 << 20;
  for (const int64_t bytes : options.bytes) {
    require(bytes >= 0 && bytes <= kLongestVector, "bench allreduce: {} bytes are not from 0 to {}", bytes,
            kLongestVector);
    most = std::max(most, bytes);
  }
  return std::min<int64_t>(most, 64 << 20);
}

bool wanted(const AllreduceOptions& options, std::string_view algorithm) {
  return options.algorithm == "all" || options.algorithm == algorithm;
}

}  // namespace

void allreduce_simulate(const SimulateOptions& options, const Sink& sink) {
  const AllreduceOptions& o = options.measured;
  if (o.algorithm != "all") comm::find_algorithm(o.operation, o.algorithm);
  Calibration c = calibrate(o.transport, most_bytes(o));
  sink(row_of(o.transport, c));
  if (options.ranks_per_host > 0) {
    c.model.remote = comm::Curve(options.remote_latency_us * 1e-6, 1e-9 / options.remote_gb_per_s);
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
  AllreduceOptions o = options.measured;
  o.ranks = 2;
  const Calibration c = calibrate(o.transport, most_bytes(o));
  sink(row_of(o.transport, c));
  const CollectivePlan plan{.kind = {.operation = o.operation, .op = o.op, .dtype = o.dtype, .ranks = o.ranks},
                            .algorithm = o.algorithm,
                            .bytes = o.bytes,
                            .rounds = o.rounds};
  bool all_within = true;
  run_ranks(o.transport, o.ranks, [&](comm::Group& group) {
    measure_collectives(group, plan, [&](const CollectiveResult& r) {
      for (const comm::Algorithm& a : comm::algorithms()) {
        if (a.operation != o.operation || a.name != r.algorithm)
          continue;  // what a transport does itself has no schedule
        const double simulated = simulated_seconds(a, o.ranks, r.bytes, c);
        const double error = simulated / r.seconds - 1, allowed = r.bytes >= (64 << 10) ? 0.15 : 0.30;
        all_within = all_within && std::abs(error) <= allowed;
        sink({{"transport", o.transport},
              {"algorithm", r.algorithm},
              {"ranks", int64_t{o.ranks}},
              {"bytes", r.bytes},
              {"measured_us", r.seconds * 1e6},
              {"simulated_us", simulated * 1e6},
              {"error", error},
              {"allowed", allowed},
              {"within", std::abs(error) <= allowed}});
      }
    });
  });
  return all_within;
}

}  // namespace gradus::bench
