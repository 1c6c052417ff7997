#include "gradus/rl/deep/n_step_returns.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"
#include "gradus/rl/agent_state.h"

namespace gradus::rl {

namespace {

std::span<float> row(Tensor& t, int64_t i) {
  return {t.data<float>() + i * t.dim(1), static_cast<size_t>(t.dim(1))};
}

}  // namespace

NStepReturns::NStepReturns(int64_t n, double gamma, int64_t n_envs, int64_t observation_size, int64_t action_size)
    : n_(n),
      gamma_(gamma),
      s_(Tensor::zeros({n_envs * n, observation_size})),
      a_(Tensor::zeros({n_envs * n, action_size})),
      returns_(Tensor::zeros({n_envs * n}, DType::f64)),
      pending_(Tensor::zeros({n_envs, 2}, DType::i64)) {}

void NStepReturns::act(int64_t env, std::span<const float> s, std::span<const float> a) {
  GRADUS_CHECK(pending(env) < n_);
  const int64_t i = slot(env, pending(env));
  std::ranges::copy(s, row(s_, i).begin());
  std::ranges::copy(a, row(a_, i).begin());
  returns_.data<double>()[i] = 0;
  ++pending_.data<int64_t>()[2 * env + 1];
}

void NStepReturns::add(int64_t env, double r) {
  double discount = 1;
  for (int64_t age = pending(env); age-- > 0; discount *= gamma_) {
    returns_.data<double>()[slot(env, age)] += discount * r;
  }
}

Transition NStepReturns::pop(int64_t env, std::span<const float> s2, bool terminated) {
  int64_t* state = pending_.data<int64_t>() + 2 * env;
  const int64_t i = slot(env, 0);
  const Transition t{.s = row(s_, i),
                     .a = row(a_, i),
                     .r = static_cast<float>(returns_.data<double>()[i]),
                     .s2 = s2,
                     .terminated = terminated,
                     .steps = state[1]};
  state[0] = (state[0] + 1) % n_;
  --state[1];
  return t;
}

NamedTensors NStepReturns::state() const {
  return {{"n_step.s", s_}, {"n_step.a", a_}, {"n_step.returns", returns_}, {"n_step.pending", pending_}};
}

void NStepReturns::restore(const NamedTensors& state) {
  for (auto& [name, tensor] : this->state()) {
    Tensor to = tensor;
    to.copy_from(find_in(state, name, to.shape(), to.dtype()));
  }
  for (int64_t env = 0; env < pending_.dim(0); ++env) {
    const int64_t *p = pending_.data<int64_t>() + 2 * env, first = p[0], n = p[1];
    if (first < 0 || first >= n_ || n < 0 || n >= n_) {
      fail(ErrorCode::corrupt, "n_step.pending has [{}, {}], but {} steps have room", first, n, n_);
    }
  }
}

}  // namespace gradus::rl
