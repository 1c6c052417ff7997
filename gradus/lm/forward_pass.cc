#include "gradus/lm/forward_pass.h"

#include <numeric>

namespace gradus::lm {

ForwardPass::ForwardPass(nn::Transformer& model, int64_t positions) : model_(model), limit_(positions) {
  require(positions >= 1 && positions <= model.config().max_positions,
          "forward pass: {} positions, but the model has 1 to {}", positions, model.config().max_positions);
  cache_ = model.make_cache((positions + kernels::kKeyBlock - 1) / kernels::kKeyBlock);
  for (kernels::KeyValuePages& pages : cache_.layers) {
    pages.keys.fill_zero();
    pages.values.fill_zero();
  }
}

Tensor ForwardPass::read(std::span<const int32_t> ids, Logits logits) {
  const auto n = static_cast<int64_t>(ids.size());
  require(n >= 1 && position_ + n <= limit_, "forward pass: {} tokens at position {}, but there is room for 1 to {}", n,
          position_, limit_ - position_);
  batch_.clear();
  batch_.append(ids, static_cast<int32_t>(position_));
  position_ += n;
  batch_.max_blocks = (position_ + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
  batch_.block_table.resize(static_cast<size_t>(batch_.max_blocks));
  std::iota(batch_.block_table.begin(), batch_.block_table.end(), 0);
  const nn::Var hidden = model_.hidden(tape_, batch_, &cache_);
  Tensor out = model_.logits(logits == Logits::of_all ? hidden.value() : hidden.value().rows(n - 1, n));
  tape_.reset();
  return out;
}

}  // namespace gradus::lm
