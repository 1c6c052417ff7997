#include "gradus/nn/lora.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/edit_distance.h"
#include "gradus/core/rng.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/gemm.h"

namespace gradus::nn {

namespace {

constexpr std::string_view kWeight = ".weight";

// "q_proj" of "model.layers.0.self_attn.q_proj.weight"; "" of what has no adapter.
std::string_view target_of(std::string_view name) {
  if (!name.ends_with(kWeight)) return {};
  name.remove_suffix(kWeight.size());
  const std::string_view last = name.substr(name.rfind('.') + 1);
  return std::ranges::find(kLoraTargets, last) != kLoraTargets.end() ? last : std::string_view{};
}

}  // namespace

void LoraConfig::check(const TransformerConfig& base) const {
  require(rank >= 1 && rank <= base.width, "lora: rank is {}, but must be 1 to the model's width {}", rank, base.width);
  require(alpha > 0 && alpha < 1e6, "lora: alpha is {}, but must be positive and below a million", alpha);
  require(!targets.empty(),
          "lora: no targets; name some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj");
  for (const std::string& target : targets) {
    require(
        std::ranges::find(kLoraTargets, target) != kLoraTargets.end(),
        "lora: no adapter for '{}'; did you mean '{}'? There are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj "
        "and down_proj",
        target, nearest_name(target, kLoraTargets));
    require(std::ranges::count(targets, target) == 1, "lora: target {} is there twice", target);
  }
}

int64_t LoraConfig::n_parameters(const TransformerConfig& unresolved) const {
  const TransformerConfig c = unresolved.resolved();
  const int64_t q = c.heads * c.head_size, kv = c.kv_heads * c.head_size;
  const std::array<int64_t, 7> in_and_out = {c.width + q,          c.width + kv,          c.width + kv,
                                             q + c.width,          c.width + c.ffn_width, c.width + c.ffn_width,
                                             c.ffn_width + c.width};
  int64_t sum = 0;
  for (size_t i = 0; i < kLoraTargets.size(); ++i) {
    if (std::ranges::find(targets, kLoraTargets[i]) != targets.end()) sum += in_and_out[i];
  }
  return c.layers * rank * sum;
}

Lora::Lora(Transformer& base, const LoraConfig& config) : base_(base), config_(config) {
  config_.check(base.config());
  const PrecisionFormats& f = base.precision();
  const auto make = [&](std::string name, Shape shape) {
    storage_.push_back({.name = std::move(name), .value = Tensor::zeros(shape, f.matrices), .grad = {}});
    if (f.master) storage_.back().master = Tensor::zeros(shape, f.vectors);
    order_.push_back(&storage_.back());
    return order_.back();
  };
  for (Parameter* p : base_.parameters()) {
    p->frozen = true;
    p->grad = {};
    if (std::ranges::find(config_.targets, target_of(p->name)) == config_.targets.end()) continue;
    const std::string at = "base_model.model." + p->name.substr(0, p->name.size() - kWeight.size());
    p->low_rank.a = make(at + ".lora_A.weight", {config_.rank, p->value.dim(1)});
    p->low_rank.b = make(at + ".lora_B.weight", {p->value.dim(0), config_.rank});
    p->low_rank.scale = config_.alpha / static_cast<double>(config_.rank);
    targets_.push_back(p);
  }
  base_.drop_master_weights();
}

void Lora::initialise(uint64_t seed) {
  for (size_t i = 0; i < order_.size(); ++i) {
    Parameter& p = *order_[i];
    const bool is_b = i % 2 == 1;
    const double bound = is_b ? 0.0 : 1.0 / std::sqrt(static_cast<double>(p.value.dim(1)));
    Rng rng(seed, Purpose::init, (uint64_t{1} << 32) + i);
    Tensor drawn = Tensor::empty(p.value.shape(), DType::f64);
    for (double& x : drawn.span<double>()) x = bound * (2 * rng.uniform() - 1);
    kernels::convert(drawn, p.weights());
    p.changed();
  }
}

void Lora::allocate_gradients() {
  for (Parameter* p : order_) {
    if (!p->grad.defined()) p->grad = Tensor::zeros(p->value.shape(), base_.precision().gradients);
  }
}

void Lora::merge() {
  for (Parameter* p : targets_) {
    const auto& [a, b, scale] = p->low_rank;
    const DType wide = kernels::computed_in(p->value.dtype());
    Tensor sum = kernels::converted(p->value, wide), product = Tensor::empty(p->value.shape(), wide);
    kernels::gemm(kernels::converted(b->weights(), wide), kernels::converted(a->weights(), wide), product);
    if (sum.dtype() == p->value.dtype()) sum = sum.clone();  // whoever shares the elements keeps them
    kernels::axpy(scale, product, sum);
    p->value = kernels::converted(sum, p->value.dtype());
    p->changed();
    p->low_rank = {};
  }
  for (Parameter* p : base_.parameters()) p->frozen = false;
}

}  // namespace gradus::nn
