// The rate at which this machine reads memory on all threads, sampled in its own rounds: the limit of what reads each
// weight once.
#pragma once

#include <vector>

#include "bench/alternation.h"
#include "gradus/core/tensor.h"

namespace gradus::bench {

class ReadMemory {
 public:
  // Joins the rounds of `alternation`, which it must outlive: a tensor of four last-level caches, 256 MiB to 1 GiB, on
  // pages like those of weights.
  explicit ReadMemory(Alternation& alternation);
  // Once more in each round, behind what has joined it meanwhile: some machines' memory is now fast, now slow.
  void again();

  // After alternation.run: the median, and that of each round.
  double gb_per_s() const;
  std::vector<double> gb_per_s_of_rounds() const;

 private:
  Alternation& alternation_;
  Tensor data_;
  std::vector<Alternation::Id> ids_;
};

}  // namespace gradus::bench
