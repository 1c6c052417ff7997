#include "gradus/rl/deep/network.h"

#include "gradus/kernels/convert.h"
#include "gradus/rl/agent_state.h"

namespace gradus::rl {

namespace {

// x as doubles.
std::span<const double> copy(const Tensor& x, std::vector<double>& to) {
  if (x.dtype() == DType::f64) {
    to.assign(x.span<double>().begin(), x.span<double>().end());
  } else {
    const Tensor wide = kernels::converted(x, DType::f32);
    to.assign(wide.span<float>().begin(), wide.span<float>().end());
  }
  return to;
}

}  // namespace

Network::Network(const nn::MlpConfig& config, nn::Precision precision, uint64_t seed, double output_scale)
    : mlp_(config, precision) {
  mlp_.initialise(seed, output_scale);
}

std::span<const double> Network::forward(const Tensor& x) {
  return copy(mlp_.infer(kernels::converted(x, mlp_.formats().matrices)), forward_);
}

std::span<const double> Network::record(const Tensor& x, bool input_gradient) {
  tape_.reset();
  x_ = tape_.emit(kernels::converted(x, mlp_.formats().matrices), input_gradient);
  y_ = mlp_(x_);
  return copy(y_.value(), recorded_);
}

std::span<const double> Network::input_gradient() {
  return copy(tape_.grad(x_), input_gradient_);
}

void Network::add_state(const std::string& prefix, NamedTensors& state) {
  for (autograd::Parameter* p : parameters()) state.emplace_back(prefix + p->name, p->weights());
}

void Network::restore(const std::string& prefix, const NamedTensors& state) {
  for (autograd::Parameter* p : parameters()) {
    p->weights().copy_from(find_in(state, prefix + p->name, p->weights().shape(), p->weights().dtype()));
    p->changed();
  }
}

}  // namespace gradus::rl
