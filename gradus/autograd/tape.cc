#include "gradus/autograd/tape.h"

#include <algorithm>

#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"

namespace gradus::autograd {

Var Tape::emit(Tensor value, bool needs_grad) {
  slots_.push_back({std::move(value), Tensor{}, needs_grad && recording()});
  return {this, static_cast<int32_t>(slots_.size()) - 1};
}

void Tape::accumulate(Var x, Tensor d_x) {
  Slot& s = slot(x);
  if (!s.needs_grad) return;
  GRADUS_CHECK(d_x.shape() == s.value.shape());
  if (!s.grad.defined()) {
    s.grad = std::move(d_x);
    return;
  }
  if (d_x.dtype() != s.grad.dtype()) {  // one is wide, as the head's are, and so is the sum
    const DType wide = kernels::computed_in(s.value.dtype());
    d_x = kernels::converted(d_x, wide);
    s.grad = kernels::converted(s.grad, wide);
  }
  if (s.grad.is_unique()) {
    kernels::add_in_place(s.grad, d_x);
  } else {  // shared with another value's gradient: leave that one alone
    Tensor sum = Tensor::empty(d_x.shape(), d_x.dtype());
    kernels::add(s.grad, d_x, sum);
    s.grad = std::move(sum);
  }
}

Tensor Tape::take_grad(Var x) {
  Tensor d_x = take_wide_grad(x);
  return d_x.defined() ? kernels::converted(d_x, value(x).dtype()) : d_x;
}

int64_t Tape::value_bytes() const {
  size_t total = 0;
  for (const Slot& s : slots_) total += s.value.bytes();
  return static_cast<int64_t>(total);
}

// That of a parameter's earliest node; ascending by node.
void Tape::find_last_uses() {
  last_ = uses_;
  std::ranges::sort(last_, std::less<>(), [](const auto& use) { return std::pair(use.second, use.first); });
  const auto same = std::ranges::unique(last_, std::equal_to<>(), &std::pair<size_t, Parameter*>::second);
  last_.erase(same.begin(), same.end());
  std::ranges::sort(last_, std::less<>(), &std::pair<size_t, Parameter*>::first);
}

void Tape::backward(Var loss, double seed, const GradientHooks& hooks) {
  GRADUS_CHECK(recording() && loss.tape == this);
  require(value(loss).numel() == 1, "backward: the loss is {}, but must have one element", value(loss).shape());
  Tensor d_loss = Tensor::empty(value(loss).shape(), value(loss).dtype());
  kernels::fill(d_loss, seed);
  accumulate(loss, std::move(d_loss));
  last_.clear();
  if (hooks.complete) find_last_uses();
  size_t use = uses_.size();
  for (size_t i = nodes_.size(); i-- > 0;) {
    if (hooks.before) {
      for (; use > 0 && uses_[use - 1].first == i; --use) hooks.before(*uses_[use - 1].second);
    }
    nodes_[i]->backward(*this);
    for (; !last_.empty() && last_.back().first == i; last_.pop_back()) hooks.complete(*last_.back().second);
  }
}

void Tape::reset() {
  for (size_t i = nodes_.size(); i-- > 0;) nodes_[i]->~Node();
  nodes_.clear();
  uses_.clear();
  slots_.clear();
  block_ = 0;
  used_ = 0;
}

void* Tape::allocate(size_t bytes, size_t alignment) {
  GRADUS_CHECK(recording() && bytes <= kBlockBytes && alignment <= alignof(std::max_align_t));
  used_ = (used_ + alignment - 1) / alignment * alignment;
  if (block_ < blocks_.size() && used_ + bytes > kBlockBytes) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) blocks_.push_back(std::make_unique<std::byte[]>(kBlockBytes));
  void* at = blocks_[block_].get() + used_;
  used_ += bytes;
  return at;
}

}  // namespace gradus::autograd
