// `gradus bench allreduce --trace`: which slice moves where, step by step.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "bench/bench.h"
#include "bench/ranks.h"
#include "gradus/comm/simulation.h"
#include "gradus/comm/tracing_transport.h"
#include "gradus/core/error.h"
#include "gradus/core/json.h"

namespace gradus::bench {

namespace {

using comm::Job;
using comm::kNobody;

constexpr int kRanksShown = 8;

// An exchange of a rank. [first, first + sent) are bytes of its vector, first < 0: of other memory.
struct Event {
  int to, from;
  int64_t first, sent;
  bool reduced;
};
using Events = std::vector<Event>;  // of one rank, in its order

// The vector of the trace: four numbers a slice unless the user wants more.
int64_t count_of(const AllreduceOptions& options) {
  const auto element = static_cast<int64_t>(sizeof(float));
  return options.bytes.empty() ? int64_t{4} * options.ranks : options.bytes.front() / element;
}

// Of the call that was begun.
Events trace(comm::Transport& transport, comm::Arithmetic& arithmetic, comm::Scratch& scratch, std::byte* x,
             std::byte* y, const AllreduceOptions& options) {
  const std::vector<int64_t> bounds = comm::even_bounds(count_of(options), options.ranks);
  const auto n = bounds.back() * static_cast<int64_t>(sizeof(float));
  Events events;
  comm::TracingTransport tracing(transport, [&](const comm::TracingTransport::Exchange& e) {
    const auto first = e.out.to == kNobody ? -1 : e.out.data - x;
    const bool inside = first >= 0 && first + static_cast<int64_t>(e.out.bytes) <= n;
    events.push_back({.to = e.out.to,
                      .from = e.in.from,
                      .first = inside ? first : -1,
                      .sent = static_cast<int64_t>(e.out.bytes),
                      .reduced = e.in.reduced});
  });
  Job job{tracing, arithmetic, scratch, x, sizeof(float), bounds, y};
  comm::find_algorithm(options.operation, options.algorithm).run(job, 0, {});
  return events;
}

std::vector<Events> trace_simulated(const AllreduceOptions& options) {
  std::vector<Events> all(static_cast<size_t>(options.ranks));
  std::vector<std::byte> x(static_cast<size_t>(count_of(options)) * sizeof(float)), y(x.size());
  comm::SimulatedWorld world(options.ranks, sizeof(float), comm::model_of({.alpha_s = 1e-6, .beta_s_per_byte = 1e-9}));
  world.run([&](comm::Transport& transport, comm::Arithmetic& arithmetic) {
    comm::Scratch scratch;
    transport.begin({.sequence = 1, .operation = options.operation, .count = count_of(options)});
    all[static_cast<size_t>(transport.rank())] = trace(transport, arithmetic, scratch, x.data(), y.data(), options);
  });
  return all;
}

std::vector<Events> trace_measured(const AllreduceOptions& options) {
  std::vector<Events> all;
  run_ranks(options.transport, options.ranks, [&](comm::Group& group) {
    std::vector<std::byte> x(static_cast<size_t>(count_of(options)) * sizeof(float)), y(x.size());
    comm::Scratch scratch;
    comm::ElementArithmetic arithmetic(options.op, DType::f32, options.ranks);
    group.begin_own(options.operation, count_of(options));
    nlohmann::json mine = nlohmann::json::array();
    for (const Event& e : trace(group.transport(), arithmetic, scratch, x.data(), y.data(), options)) {
      mine.push_back({e.to, e.from, e.first, e.sent, e.reduced});
    }
    const std::vector<std::string> texts = group.all_gather(write_json(mine));
    if (group.rank() != 0) return;
    for (const std::string& text : texts) {
      Events& events = all.emplace_back();
      for (const nlohmann::json& e : parse_json(text, "trace")) {
        events.push_back(
            {e[0].get<int>(), e[1].get<int>(), e[2].get<int64_t>(), e[3].get<int64_t>(), e[4].get<bool>()});
      }
    }
  });
  return all;
}

// "slice 3", "slices 2-3", "all", "24 bytes".
std::string what(const Event& e, std::span<const int64_t> bounds) {
  const auto element = static_cast<int64_t>(sizeof(float));
  const auto begin = std::ranges::find(bounds, e.first / element),
             end = std::ranges::find(bounds, (e.first + e.sent) / element);
  if (e.first < 0 || e.sent == 0 || e.first % element != 0 || begin == bounds.end() || end == bounds.end()) {
    return fmt::format("{} bytes", e.sent);
  }
  const auto first = begin - bounds.begin(), last = end - bounds.begin() - 1;
  if (first == 0 && end + 1 == bounds.end()) return "all";
  return first == last ? fmt::format("slice {}", first) : fmt::format("slices {}-{}", first, last);
}

}  // namespace

void allreduce_trace(const AllreduceOptions& options, bool simulated, const Sink& sink) {
  comm::find_algorithm(options.operation, options.algorithm);
  const std::vector<Events> all = simulated ? trace_simulated(options) : trace_measured(options);
  const std::vector<int64_t> bounds = comm::even_bounds(count_of(options), options.ranks);
  // Whether the k-th message from one rank to another one is reduced there.
  std::map<std::pair<int, int>, std::vector<bool>> reduced;
  for (size_t r = 0; r < all.size(); ++r) {
    for (const Event& e : all[r]) {
      if (e.from != kNobody) reduced[{e.from, static_cast<int>(r)}].push_back(e.reduced);
    }
  }
  std::map<std::pair<int, int>, size_t> n_sent;
  size_t steps = 0;
  for (const Events& events : all) steps = std::max(steps, events.size());
  for (size_t step = 0; step < steps; ++step) {
    Row row = {{"step", static_cast<int64_t>(step) + 1}};
    for (int r = 0; r < std::min(options.ranks, kRanksShown); ++r) {
      const Events& events = all[static_cast<size_t>(r)];
      std::string text = "-";
      if (step < events.size() && events[step].to != kNobody) {
        const Event& e = events[step];
        const std::pair link{r, e.to};
        const bool added = reduced[link].at(n_sent[link]++);
        text = fmt::format("{} to {}, {}", what(e, bounds), e.to, added ? "added" : "copied");
      }
      row.emplace_back(fmt::format("rank_{}_sends", r), text);
    }
    sink(row);
  }
  const double n = static_cast<double>(bounds.back()) * sizeof(float);
  for (int r = 0; r < std::min(options.ranks, kRanksShown); ++r) {
    int64_t messages = 0, bytes = 0;
    for (const Event& e : all[static_cast<size_t>(r)]) {
      messages += e.to != kNobody;
      bytes += e.sent;
    }
    sink({{"rank", int64_t{r}},
          {"messages_sent", messages},
          {"bytes_sent", bytes},
          {"vectors_sent", n > 0 ? static_cast<double>(bytes) / n : 0.0}});
  }
}

}  // namespace gradus::bench
