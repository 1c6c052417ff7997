// What happens to gradients between the backward pass and the optimiser: norm, and a balanced tree over shards.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/autograd/tape.h"

namespace gradus::optim {

// sqrt(sum over all parameters of |grad|^2), in double, parameters in order, fixed chunks inside each.
double global_gradient_norm(std::span<autograd::Parameter* const> parameters);

// Factor that brings a norm down to `max_norm`; 1 when it is below, or when max_norm is 0 (off).
double clip_factor(double norm, double max_norm);

// The share of all gradients' elements that would be zero or subnormal in `format`.
double small_gradient_share(std::span<autograd::Parameter* const> parameters, DType format);

void zero_gradients(std::span<autograd::Parameter* const> parameters);

// Adds the gradients of S shards in a balanced binary tree: ((g0 + g1) + (g2 + g3)) + ..., holding at most log2(S)
// partial sums. After each shard's backward but the last call `add`; after the last, `finish` each parameter, which
// leaves the total in Parameter::grad. S = 1 copies nothing. Gradients stay where they lie.
class ShardTree {
 public:
  explicit ShardTree(std::span<autograd::Parameter* const> parameters)
      : parameters_(parameters.begin(), parameters.end()) {}
  void reset();  // forgets an unfinished sum, keeps the memory
  void add();    // takes the gradients of a shard, and leaves zeros
  void finish(size_t i);

 private:
  struct Partial {
    int64_t height = 0;
    std::vector<Tensor> gradients;
  };
  void add_partial(const Partial& partial, size_t i);

  std::vector<autograd::Parameter*> parameters_;
  std::vector<Partial> partials_;  // a stack; those from n_partials_ on are kept for their memory
  size_t n_partials_ = 0;
};

}  // namespace gradus::optim
