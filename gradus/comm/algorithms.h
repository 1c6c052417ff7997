// The algorithms by name, and which one a call takes. A call's choice depends only on what all ranks know: operation,
// bytes, element type, number of ranks, transport.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/comm/schedule.h"
#include "gradus/comm/transport.h"

namespace gradus::comm {

enum class Order : uint8_t { canonical, any };

struct Algorithm {
  std::string_view name;
  Operation operation;
  void (*run)(Job& job, int root, std::span<const int> host_of);
  bool canonical = true;  // sums have the order of kernels::combine over ranks, for every P
  bool canonical_for_powers_of_two = false;
  bool partial_sums_travel = false;  // then 16-bit floats travel as f32
  bool powers_of_two_only = false;
  bool between_hosts = false;  // needs hosts of several ranks each
};

// Those made of exchanges, for any transport.
std::span<const Algorithm> algorithms();

// What a name of a call's operation stands for on a transport.
struct Choice {
  const Algorithm* algorithm = nullptr;  // else native
  const NativeAlgorithm* native = nullptr;
  std::string_view name() const { return algorithm != nullptr ? algorithm->name : native->name; }
};

// One line of the table: up to `most_bytes` of the whole vector, this algorithm.
struct Rule {
  std::string transport;
  Operation operation = Operation::all_reduce;
  int ranks = 0;  // 0: any number
  int64_t most_bytes = INT64_MAX;
  std::string algorithm;
};

class Selection {
 public:
  // The rules of this house, measured on a 2-core machine; those in the file that $GRADUS_COMM_TABLE names, written by
  // `gradus bench allreduce --tune`, come before them. Throws not_found or corrupt.
  explicit Selection(const Transport& transport, std::span<const int> host_of);

  // The algorithm for a call: `forced` if it is not empty, else that of the first rule that fits and may be taken, else
  // one that always may. Throws invalid_argument when there is no such name, unsupported when it is not for this group.
  Choice choose(const Call& call, size_t bytes, Order order, std::string_view forced = {}) const;

  // All names that choose() would accept for the operation on `bytes`.
  std::vector<std::string> names(Operation operation, size_t bytes = 0) const;
  // Has the algorithm of this name the canonical order here? No if there is none.
  bool canonical(Operation operation, std::string_view name) const;

 private:
  // A rule with its algorithm looked up; those that cannot be taken by this group are left out.
  struct Ready {
    int64_t most_bytes;
    Choice choice;
    bool canonical;
  };

  bool possible(const Choice& c) const;
  bool canonical(const Choice& c) const;
  Choice find(Operation operation, std::string_view name) const;

  const Transport& transport_;
  std::span<const int> host_of_;
  std::array<std::vector<Ready>, kOperations> rules_;
};

// Rules as JSON and back. Throws corrupt, naming `origin`.
std::string to_json(std::span<const Rule> rules);
std::vector<Rule> parse_rules(std::string_view json, std::string_view origin);

}  // namespace gradus::comm
