// The peak that other figures are shares of, sampled in their own rounds: the larger of a register-only multiply-add
// loop on all threads and the best large matrix product (ours or oneDNN's).
#pragma once

#include <memory>

#include "bench/alternation.h"

namespace gradus::bench {

class PeakLoops {
 public:
  // Joins the rounds of `alternation`, which it must outlive.
  explicit PeakLoops(Alternation& alternation);
  ~PeakLoops();

  // After alternation.run, in 10^9 FLOP per second.
  double multiply_add_gflops() const;  // all threads
  double highway_gflops() const;
  double onednn_gflops() const;
  double gflops() const;  // the largest of them: the peak

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gradus::bench
