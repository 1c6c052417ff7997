// The peak that other figures are shares of, sampled in their own rounds: the larger of a register-only multiply-add
// loop on all threads and the best large matrix product (ours or, in f32, oneDNN's).
#pragma once

#include <memory>

#include "bench/alternation.h"
#include "gradus/core/dtype.h"

namespace gradus::bench {

class PeakLoops {
 public:
  // Joins the rounds of `alternation`, which it must outlive. bf16 has a peak of its own where the instruction set
  // multiplies pairs; elsewhere, and for f16, products run as those of f32 and so does the peak.
  explicit PeakLoops(Alternation& alternation, DType dtype = DType::f32);
  ~PeakLoops();

  // After alternation.run, in 10^9 FLOP per second.
  double multiply_add_gflops() const;  // all threads
  double highway_gflops() const;
  double onednn_gflops() const;  // 0 for bf16
  double gflops() const;         // the largest of them: the peak

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gradus::bench
