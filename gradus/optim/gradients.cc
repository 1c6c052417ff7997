#include "gradus/optim/gradients.h"

#include <cmath>

#include "gradus/kernels/elementwise.h"

namespace gradus::optim {

double global_gradient_norm(std::span<autograd::Parameter* const> parameters) {
  double total = 0;
  for (const autograd::Parameter* p : parameters) total += kernels::sum_of_squares(p->grad);
  return std::sqrt(total);
}

double clip_factor(double norm, double max_norm) { return max_norm > 0 && norm > max_norm ? max_norm / norm : 1.0; }

void zero_gradients(std::span<autograd::Parameter* const> parameters) {
  for (autograd::Parameter* p : parameters) p->grad.fill_zero();
}

void ShardTree::add(bool last) {
  // Two sums of equal height become one of the next height, like carries of a binary counter.
  current_height_ = 0;
  const auto merge_top = [&] {
    Partial& top = stack_.back();
    for (size_t i = 0; i < parameters_.size(); ++i) {
      kernels::add_in_place(top.gradients[i], parameters_[i]->grad);  // earlier shards on the left
      std::swap(top.gradients[i], parameters_[i]->grad);
    }
    stack_.pop_back();
  };
  while (!stack_.empty() && stack_.back().height == current_height_) {
    merge_top();
    ++current_height_;
  }
  if (last) return;
  Partial partial{.height = current_height_, .gradients = {}};
  for (autograd::Parameter* p : parameters_) {
    partial.gradients.push_back(p->grad);
    p->grad = Tensor::zeros(p->grad.shape(), p->grad.dtype());
  }
  stack_.push_back(std::move(partial));
}

void ShardTree::finish() {
  while (!stack_.empty()) {  // S is no power of two: the unequal rest
    for (size_t i = 0; i < parameters_.size(); ++i) {
      kernels::add_in_place(stack_.back().gradients[i], parameters_[i]->grad);
      std::swap(stack_.back().gradients[i], parameters_[i]->grad);
    }
    stack_.pop_back();
  }
}

}  // namespace gradus::optim
