// Eligibility traces: how far each visited entry of a table shares in an error. Sutton & Barto, 2nd ed., sections 12.2
// and 12.5. Entries that were never visited cost nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "gradus/rl/tabular/learner.h"

namespace gradus::rl {

class Traces {
 public:
  // For a table of the shape of `like`.
  Traces(const Table& like, const LearnerConfig& c)
      : E_(like.n_states(), like.n_actions()), decay_(c.gamma * c.lambda), replacing_(c.traces == "replacing") {}

  void begin() {
    for (const auto& [s, a] : visited_) E_(s, a) = 0;
    visited_.clear();
  }

  void visit(int64_t s, int64_t a) {
    double& e = E_(s, a);
    if (e == 0) visited_.push_back({s, a});
    e = replacing_ ? 1 : e + 1;
  }

  // X <- X + step E, then E <- gamma lambda E. What has decayed below 1e-12 is forgotten.
  void spread(double step, Table& X) {
    size_t kept = 0;
    for (const Entry v : visited_) {
      double& e = E_(v.s, v.a);
      X(v.s, v.a) += step * e;
      e *= decay_;
      if (e < 1e-12) {
        e = 0;
      } else {
        visited_[kept++] = v;
      }
    }
    visited_.resize(kept);
  }

 private:
  struct Entry {
    int64_t s, a;
  };
  Table E_;
  double decay_;
  bool replacing_;
  std::vector<Entry> visited_;
};

}  // namespace gradus::rl
