#include "bench/exact_check.h"

#include <algorithm>
#include <cmath>

#include "gradus/kernels/convert.h"

namespace gradus::bench {

std::vector<posttrain::Rollout> sample_rollouts(lm::Model& model, std::span<const lm::SampleRequest> requests,
                                                const lm::SamplerConfig& config) {
  std::vector<lm::Sample> samples = lm::Sampler(model, config).generate(requests);
  std::vector<posttrain::Rollout> rollouts;
  for (size_t i = 0; i < samples.size(); ++i) {
    const std::span<const int32_t> prompt = requests[i].prompt;
    posttrain::Rollout r;
    r.tokens.assign(prompt.begin(), prompt.end());
    r.tokens.insert(r.tokens.end(), samples[i].tokens.begin(), samples[i].tokens.end());
    r.prompt_tokens = static_cast<int64_t>(prompt.size());
    r.log_probs = std::move(samples[i].log_probs);
    r.ended = samples[i].ended;
    rollouts.push_back(std::move(r));
  }
  return rollouts;
}

int64_t response_tokens(std::span<const posttrain::Rollout> rollouts) {
  int64_t n = 0;
  for (const posttrain::Rollout& r : rollouts) n += r.response_tokens();
  return n;
}

double control_one_ulp(lm::Model& model, std::span<const posttrain::Rollout> rollouts, double temperature,
                       int64_t max_rows) {
  autograd::Parameter* moved = nullptr;
  for (autograd::Parameter* p : model.transformer().parameters()) {
    if (p->name == "model.norm.weight") moved = p;
  }
  GRADUS_CHECK(moved != nullptr);
  const Tensor before = moved->value.clone();
  Tensor weights = kernels::converted(before, DType::f64).clone();
  double& weight = weights.data<double>()[0];
  // Log-probabilities are recorded as float: what a unit of f64 changes is not seen, so there 16 units of float are
  // taken.
  const DType format = model.transformer().precision().matrices;
  const double unit = format == DType::f64 ? 16 * float_format(DType::f32).epsilon() : float_format(format).epsilon();
  weight += std::ldexp(unit, std::ilogb(weight));
  kernels::convert(weights, moved->value);
  moved->changed();
  const double mismatch = posttrain::mismatch_max(model, rollouts, temperature, max_rows);
  moved->value.copy_from(before);
  moved->changed();
  return mismatch;
}

void ExactTotals::add_mismatch(double mismatch) {
  if (!(mismatch <= mismatch_max) && !std::isnan(mismatch_max)) mismatch_max = mismatch;  // a NaN wins, and stays
}

void ExactTotals::add_control(double control) {
  if (control_min < 0 || !(control >= control_min || std::isnan(control_min))) control_min = control;
}

}  // namespace gradus::bench
