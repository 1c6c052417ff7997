#include "gradus/comm/algorithms.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "gradus/comm/doubling.h"
#include "gradus/comm/hierarchical.h"
#include "gradus/comm/pairwise.h"
#include "gradus/comm/ring.h"
#include "gradus/comm/rooted.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"

namespace gradus::comm {

namespace {

using Hosts = std::span<const int>;

constexpr std::array kAlgorithms = {
    Algorithm{.name = "ring",
              .operation = Operation::all_reduce,
              .run = [](Job& job, int, Hosts) { all_reduce_ring(job); },
              .canonical = false,
              .partial_sums_travel = true},
    Algorithm{.name = "pairwise",
              .operation = Operation::all_reduce,
              .run = [](Job& job, int, Hosts) { all_reduce_pairwise(job); }},
    Algorithm{.name = "doubling",
              .operation = Operation::all_reduce,
              .run = [](Job& job, int, Hosts) { all_reduce_doubling(job); },
              .canonical = false,
              .canonical_for_powers_of_two = true,
              .partial_sums_travel = true},
    Algorithm{.name = "rabenseifner",
              .operation = Operation::all_reduce,
              .run = [](Job& job, int, Hosts) { all_reduce_rabenseifner(job); },
              .canonical = false,
              .canonical_for_powers_of_two = true,
              .partial_sums_travel = true,
              .powers_of_two_only = true},
    Algorithm{.name = "hierarchical",
              .operation = Operation::all_reduce,
              .run = [](Job& job, int, Hosts hosts) { all_reduce_hierarchical(job, hosts); },
              .canonical = false,  // see Selection::fits
              .partial_sums_travel = true,
              .between_hosts = true},
    Algorithm{.name = "parameter-server",
              .operation = Operation::all_reduce,
              .run = [](Job& job, int, Hosts) { all_reduce_parameter_server(job, 0); }},
    Algorithm{.name = "ring",
              .operation = Operation::reduce_scatter,
              .run = [](Job& job, int, Hosts) { reduce_scatter_ring(job); },
              .canonical = false,
              .partial_sums_travel = true},
    Algorithm{.name = "pairwise",
              .operation = Operation::reduce_scatter,
              .run = [](Job& job, int, Hosts) { reduce_scatter_pairwise(job); }},
    Algorithm{
        .name = "ring", .operation = Operation::all_gather, .run = [](Job& job, int, Hosts) { all_gather_ring(job); }},
    Algorithm{.name = "binomial",
              .operation = Operation::broadcast,
              .run = [](Job& job, int root, Hosts) { broadcast_binomial(job, root); }},
    Algorithm{.name = "pipelined",
              .operation = Operation::broadcast,
              .run = [](Job& job, int root, Hosts) { broadcast_pipelined(job, root); }},
    Algorithm{.name = "linear",
              .operation = Operation::gather,
              .run = [](Job& job, int root, Hosts) { gather_linear(job, root); }},
    Algorithm{.name = "pairwise",
              .operation = Operation::all_to_all,
              .run = [](Job& job, int, Hosts) { all_to_all_pairwise(job); }},
    Algorithm{.name = "dissemination",
              .operation = Operation::barrier,
              .run = [](Job& job, int, Hosts) { barrier_dissemination(job); }},
};

// The house's own table. A rule whose algorithm a call may not take (its order, its number of ranks) is passed over, so
// that what holds for any order stands before what holds for the canonical one.
std::vector<Rule> house_rules(std::string_view transport) {
  const auto rule = [&](Operation operation, int64_t most_bytes, std::string algorithm) {
    return Rule{std::string(transport), operation, 0, most_bytes, std::move(algorithm)};
  };
  std::vector<Rule> rules;
  if (transport == "threads") {
    for (const Operation o : {Operation::all_reduce, Operation::reduce_scatter, Operation::all_gather,
                              Operation::broadcast, Operation::barrier}) {
      rules.push_back(rule(o, INT64_MAX, "slices"));
    }
  }
  if (transport == "shm") {
    for (const Operation o :
         {Operation::all_reduce, Operation::reduce_scatter, Operation::all_gather, Operation::barrier}) {
      rules.push_back(rule(o, 4 << 10, "one-shot"));
    }
    rules.push_back(rule(Operation::all_reduce, INT64_MAX, "two-shot"));
    rules.push_back(rule(Operation::reduce_scatter, INT64_MAX, "two-shot"));
    rules.push_back(rule(Operation::all_gather, INT64_MAX, "staged"));
    rules.push_back(rule(Operation::broadcast, INT64_MAX, "staged"));
  }
  rules.push_back(rule(Operation::all_reduce, 16 << 10, "doubling"));
  rules.push_back(rule(Operation::all_reduce, INT64_MAX, "hierarchical"));
  rules.push_back(rule(Operation::all_reduce, INT64_MAX, "ring"));
  rules.push_back(rule(Operation::all_reduce, INT64_MAX, "pairwise"));
  rules.push_back(rule(Operation::reduce_scatter, INT64_MAX, "pairwise"));
  rules.push_back(rule(Operation::all_gather, INT64_MAX, "ring"));
  rules.push_back(rule(Operation::broadcast, 64 << 10, "binomial"));
  rules.push_back(rule(Operation::broadcast, INT64_MAX, "pipelined"));
  rules.push_back(rule(Operation::gather, INT64_MAX, "linear"));
  rules.push_back(rule(Operation::all_to_all, INT64_MAX, "pairwise"));
  rules.push_back(rule(Operation::barrier, INT64_MAX, "dissemination"));
  return rules;
}

Operation operation_of(std::string_view word, std::string_view origin) {
  for (int o = 0; o <= static_cast<int>(Operation::all_to_all); ++o) {
    if (name(static_cast<Operation>(o)) == word) return static_cast<Operation>(o);
  }
  fail(ErrorCode::corrupt, "{}: there is no operation {}", origin, word);
}

}  // namespace

std::span<const Algorithm> algorithms() {
  return kAlgorithms;
}

Selection::Selection(const Transport& transport, Hosts host_of) : transport_(transport), host_of_(host_of) {
  std::vector<Rule> rules;
  if (const char* path = std::getenv("GRADUS_COMM_TABLE"); path != nullptr && *path != '\0') {
    rules = parse_rules(read_file(path), path);
    std::erase_if(rules, [&](const Rule& r) {
      return r.transport != transport.name() || (r.ranks != 0 && r.ranks != transport.size());
    });
  }
  std::ranges::move(house_rules(transport.name()), std::back_inserter(rules));
  for (const Rule& r : rules) {
    const Choice c = find(r.operation, r.algorithm);
    if (!possible(c)) continue;
    int64_t most_bytes = r.most_bytes;
    if (c.native != nullptr && std::cmp_less(c.native->most_bytes, most_bytes)) {
      most_bytes = static_cast<int64_t>(c.native->most_bytes);
    }
    rules_[static_cast<size_t>(r.operation)].push_back({most_bytes, c, canonical(c)});
  }
}

Choice Selection::find(Operation operation, std::string_view wanted) const {
  for (const NativeAlgorithm& a : transport_.native_algorithms()) {
    if (a.operation == operation && a.name == wanted) return {.native = &a};
  }
  for (const Algorithm& a : kAlgorithms) {
    if (a.operation == operation && a.name == wanted) return {.algorithm = &a};
  }
  return {};
}

bool Selection::possible(const Choice& c) const {
  if (c.algorithm == nullptr) return c.native != nullptr;
  if (c.algorithm->between_hosts) return !host_of_.empty() && hierarchical_is_possible(host_of_);
  return !c.algorithm->powers_of_two_only || std::has_single_bit(static_cast<unsigned>(transport_.size()));
}

bool Selection::canonical(const Choice& c) const {
  if (transport_.size() <= 2) return true;  // a + b = b + a
  if (c.native != nullptr) return c.native->canonical;
  return c.algorithm->canonical ||
         (c.algorithm->canonical_for_powers_of_two && std::has_single_bit(static_cast<unsigned>(transport_.size()))) ||
         (c.algorithm->between_hosts && hierarchical_is_canonical(host_of_));
}

Choice Selection::choose(const Call& call, size_t bytes, Order order, std::string_view forced) const {
  if (!forced.empty()) {
    const Choice c = find(call.operation, forced);
    require(c.algorithm != nullptr || c.native != nullptr, "{}: there is no algorithm {} over {}; there are {}",
            name(call.operation), forced, transport_.name(), fmt::join(names(call.operation), ", "));
    if (!possible(c) || (c.native != nullptr && bytes > c.native->most_bytes)) {
      fail(ErrorCode::unsupported, "{}: {} does not work for {} bytes on these {} ranks; leave the choice to the table",
           name(call.operation), forced, bytes, transport_.size());
    }
    return c;
  }
  const bool any_order = order == Order::any || !kernels::order_matters(call.op, call.dtype);
  for (const Ready& r : rules_[static_cast<size_t>(call.operation)]) {
    if (static_cast<int64_t>(bytes) <= r.most_bytes && (any_order || r.canonical)) return r.choice;
  }
  fail(ErrorCode::unsupported, "{}: no algorithm over {} fits", name(call.operation), transport_.name());
}

bool Selection::canonical(Operation operation, std::string_view wanted) const {
  const Choice c = find(operation, wanted);
  return (c.native != nullptr || c.algorithm != nullptr) && canonical(c);
}

std::vector<std::string> Selection::names(Operation operation, size_t bytes) const {
  std::vector<std::string> found;
  for (const NativeAlgorithm& a : transport_.native_algorithms()) {
    if (a.operation == operation && bytes <= a.most_bytes) found.emplace_back(a.name);
  }
  for (const Algorithm& a : kAlgorithms) {
    if (a.operation == operation && possible({.algorithm = &a})) found.emplace_back(a.name);
  }
  return found;
}

std::string to_json(std::span<const Rule> rules) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Rule& r : rules) {
    list.push_back({{"transport", r.transport},
                    {"operation", name(r.operation)},
                    {"ranks", r.ranks},
                    {"most_bytes", r.most_bytes},
                    {"algorithm", r.algorithm}});
  }
  return write_json(list, 1) + '\n';
}

std::vector<Rule> parse_rules(std::string_view json, std::string_view origin) {
  std::vector<Rule> rules;
  const nlohmann::json list = parse_json(json, origin);
  try {
    for (const nlohmann::json& r : list) {
      rules.push_back({.transport = r.at("transport").get<std::string>(),
                       .operation = operation_of(r.at("operation").get<std::string>(), origin),
                       .ranks = r.at("ranks").get<int>(),
                       .most_bytes = r.at("most_bytes").get<int64_t>(),
                       .algorithm = r.at("algorithm").get<std::string>()});
    }
  } catch (const nlohmann::json::exception& e) {
    fail(ErrorCode::corrupt, "{}: not a table of algorithms: {}", origin, e.what());
  }
  return rules;
}

}  // namespace gradus::comm
