#include "gradus/optim/gradients.h"

#include <cmath>

#include "gradus/kernels/elementwise.h"

namespace gradus::optim {

double global_gradient_norm(std::span<autograd::Parameter* const> parameters) {
  double total = 0;
  for (const autograd::Parameter* p : parameters) total += kernels::sum_of_squares(p->grad);
  return std::sqrt(total);
}

double clip_factor(double norm, double max_norm) {
  return max_norm > 0 && norm > max_norm ? max_norm / norm : 1.0;
}

double small_gradient_share(std::span<autograd::Parameter* const> parameters, DType format) {
  int64_t small = 0, all = 0;
  for (const autograd::Parameter* p : parameters) {
    small += kernels::count_below(p->grad, float_format(format).least_normal());
    all += p->grad.numel();
  }
  return all == 0 ? 0.0 : static_cast<double>(small) / static_cast<double>(all);
}

void zero_gradients(std::span<autograd::Parameter* const> parameters) {
  for (autograd::Parameter* p : parameters) p->grad.fill_zero();
}

void ShardTree::reset() {
  n_partials_ = 0;
}

// The shards of a partial sum came earlier than those in Parameter::grad.
void ShardTree::add_partial(const Partial& partial, size_t i) {
  kernels::add(partial.gradients[i], parameters_[i]->grad, parameters_[i]->grad);
}

void ShardTree::add() {
  // Two sums of equal height become one of the next height, like carries of a binary counter.
  int64_t height = 0;
  for (; n_partials_ > 0 && partials_[n_partials_ - 1].height == height; ++height) {
    --n_partials_;
    for (size_t i = 0; i < parameters_.size(); ++i) add_partial(partials_[n_partials_], i);
  }
  if (n_partials_ == partials_.size()) partials_.emplace_back();
  Partial& partial = partials_[n_partials_++];
  partial.height = height;
  partial.gradients.resize(parameters_.size());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& grad = parameters_[i]->grad;
    if (!partial.gradients[i].defined()) partial.gradients[i] = Tensor::empty(grad.shape(), grad.dtype());
    partial.gradients[i].copy_from(grad);
    grad.fill_zero();
  }
}

void ShardTree::finish(size_t i) {
  for (size_t k = n_partials_; k-- > 0;) add_partial(partials_[k], i);
}

}  // namespace gradus::optim
