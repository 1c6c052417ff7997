#include "gradus/optim/adamw.h"

#include <cmath>

#include "gradus/kernels/adamw.h"
#include "gradus/kernels/convert.h"

namespace gradus::optim {

AdamW::AdamW(std::vector<autograd::Parameter*> parameters, const AdamWConfig& config)
    : parameters_(std::move(parameters)), config_(config) {
  for (const autograd::Parameter* p : parameters_) {
    const DType dtype = kernels::computed_in(p->weights().dtype());
    m_.push_back(Tensor::zeros(p->value.shape(), dtype));
    v_.push_back(Tensor::zeros(p->value.shape(), dtype));
  }
}

void AdamW::step(double learning_rate, double grad_scale) {
  ++steps_;
  const auto t = static_cast<double>(steps_);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    autograd::Parameter& p = *parameters_[i];
    kernels::adamw_update(
        p.weights(), p.grad, m_[i], v_[i],
        {.learning_rate = learning_rate,
         .beta1 = config_.beta1,
         .beta2 = config_.beta2,
         .eps = config_.eps,
         .weight_decay = p.value.rank() >= 2 ? config_.weight_decay : 0.0,
         .bias_correction1 = 1.0 - std::pow(config_.beta1, t),
         .bias_correction2 = 1.0 - std::pow(config_.beta2, t),
         .grad_scale = grad_scale},
        {.seed = config_.seed, .index = problem_ * parameters_.size() + i, .step = static_cast<uint32_t>(steps_)});
    p.changed();
  }
}

void AdamW::reset(uint64_t problem) {
  for (Tensor& m : m_) m.fill_zero();
  for (Tensor& v : v_) v.fill_zero();
  steps_ = 0;
  problem_ = problem;
}

}  // namespace gradus::optim
