// pi(a|s) as a network: PolicyHead over its outputs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/rl/deep/network.h"
#include "gradus/rl/deep/policy_head.h"

namespace gradus::rl {

class Policy {
 public:
  //   log_std  the first of every dimension, of a Gaussian
  // The last layer begins with small weights, so that the first policy is nearly the same in every state.
  Policy(const nn::MlpConfig& config, const env::Space& actions, nn::Precision precision, double log_std,
         uint64_t seed);
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  const PolicyHead& head() const { return head_; }
  // [n_log_std]; those of the last `forward` or `record`.
  const Deviations& deviations() const { return deviations_; }

  // Outputs [rows * n_outputs], valid until the next call of the same function.
  //   x  [rows, inputs] f32
  std::span<const double> forward(const Tensor& x);
  std::span<const double> record(const Tensor& x);
  std::span<const double> row(std::span<const double> outputs, int64_t i) const {
    return outputs.subspan(static_cast<size_t>(i * head_.n_outputs()), static_cast<size_t>(head_.n_outputs()));
  }

  // The loss whose gradient in the outputs of the last record is d_out, for a backward pass; d_log_std [n_log_std],
  // times the scale of that loss, is added to the gradient of the deviations at once.
  autograd::Var loss(std::span<const double> d_out, std::span<const double> d_log_std, double loss_scale);

  Network& network() { return network_; }
  autograd::Parameter* log_std() { return log_std_.empty() ? nullptr : &log_std_parameter_; }
  const std::vector<autograd::Parameter*>& parameters() const { return parameters_; }
  // All weights, one parameter behind the other, the deviations last. Set to what was got, they are as they were.
  void get_weights(std::vector<double>& weights) const;
  void set_weights(std::span<const double> weights);

  void add_state(const std::string& prefix, NamedTensors& state);
  void restore(const std::string& prefix, const NamedTensors& state);  // throws corrupt

 private:
  void read_deviations();

  PolicyHead head_;
  Network network_;
  autograd::Parameter log_std_parameter_;         // [n_log_std]
  std::vector<autograd::Parameter*> parameters_;  // the network's, and the deviations', if there are any
  std::vector<double> log_std_;                   // as doubles
  Deviations deviations_;
};

}  // namespace gradus::rl
