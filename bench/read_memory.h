// The rate at which this machine reads memory on all threads, sampled in its own rounds: the limit of what reads each
// weight once.
#pragma once

#include "bench/alternation.h"
#include "gradus/core/tensor.h"

namespace gradus::bench {

class ReadMemory {
 public:
  // Joins the rounds of `alternation`, which it must outlive: a tensor of four last-level caches, 256 MiB to 1 GiB, on
  // pages like those of weights.
  explicit ReadMemory(Alternation& alternation);

  double gb_per_s() const;  // after alternation.run

 private:
  Alternation& alternation_;
  Tensor data_;
  Alternation::Id id_;
};

}  // namespace gradus::bench
