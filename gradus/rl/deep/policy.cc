#include "gradus/rl/deep/policy.h"

#include <algorithm>

#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/rl/agent_state.h"

namespace gradus::rl {

namespace {

constexpr double kOutputScale = 0.01;

nn::MlpConfig with_outputs(nn::MlpConfig config, int64_t n) {
  config.outputs = n;
  return config;
}

}  // namespace

Policy::Policy(const nn::MlpConfig& config, const env::Space& actions, nn::Precision precision, double log_std,
               uint64_t seed)
    : head_(actions),
      network_(with_outputs(config, head_.n_outputs()), precision, seed, kOutputScale),
      log_std_parameter_{.name = "log_std",
                         .value = Tensor::empty({head_.n_log_std()}, nn::formats(precision).vectors),
                         .grad = Tensor::zeros({head_.n_log_std()}, nn::formats(precision).vectors)},
      parameters_(network_.parameters()),
      log_std_(static_cast<size_t>(head_.n_log_std())) {
  if (!log_std_.empty()) parameters_.push_back(&log_std_parameter_);
  kernels::fill(log_std_parameter_.value, log_std);
  read_deviations();
}

void Policy::read_deviations() {
  const Tensor& value = log_std_parameter_.value;
  for (size_t i = 0; i < log_std_.size(); ++i) {
    log_std_[i] = value.dtype() == DType::f64 ? value.span<double>()[i] : static_cast<double>(value.span<float>()[i]);
  }
  deviations_.assign(log_std_);
}

std::span<const double> Policy::forward(const Tensor& x) {
  read_deviations();
  return network_.forward(x);
}

std::span<const double> Policy::record(const Tensor& x) {
  read_deviations();
  return network_.record(x);
}

autograd::Var Policy::loss(std::span<const double> d_out, std::span<const double> d_log_std, double loss_scale) {
  Tensor& grad = log_std_parameter_.grad;
  for (size_t i = 0; i < d_log_std.size(); ++i) {
    if (grad.dtype() == DType::f64) {
      grad.span<double>()[i] += loss_scale * d_log_std[i];
    } else {
      grad.span<float>()[i] += static_cast<float>(loss_scale * d_log_std[i]);
    }
  }
  return network_.loss(d_out);
}

void Policy::get_weights(std::vector<double>& weights) const {
  weights.clear();
  for (const autograd::Parameter* p : parameters_) {
    const Tensor wide = kernels::converted(p->weights(), DType::f64);
    weights.insert(weights.end(), wide.span<double>().begin(), wide.span<double>().end());
  }
}

void Policy::set_weights(std::span<const double> weights) {
  for (autograd::Parameter* p : parameters_) {
    const auto n = static_cast<size_t>(p->weights().numel());
    kernels::convert(Tensor::from<double>(weights.first(n), p->weights().shape()), p->weights());
    p->changed();
    weights = weights.subspan(n);
  }
}

void Policy::add_state(const std::string& prefix, NamedTensors& state) {
  network_.add_state(prefix, state);
  if (!log_std_.empty()) state.emplace_back(prefix + "log_std", log_std_parameter_.value);
}

void Policy::restore(const std::string& prefix, const NamedTensors& state) {
  network_.restore(prefix, state);
  if (log_std_.empty()) return;
  Tensor& value = log_std_parameter_.value;
  value.copy_from(find_in(state, prefix + "log_std", value.shape(), value.dtype()));
}

}  // namespace gradus::rl
