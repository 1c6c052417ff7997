#include "gradus/rl/deep/action_critic.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "gradus/core/error.h"

namespace gradus::rl {

namespace {

// Gradients flow through the weights while it lives, and not into them.
class Frozen {
 public:
  explicit Frozen(Network& network) : network_(network) { set(true); }
  ~Frozen() { set(false); }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

 private:
  void set(bool frozen) {
    for (autograd::Parameter* p : network_.mlp().parameters()) p->frozen = frozen;
  }
  Network& network_;
};

template <class T>
void join(const Tensor& s, std::span<const double> a, std::span<T> z) {
  const auto n = static_cast<size_t>(s.dim(1)), rows = static_cast<size_t>(s.dim(0)), size = a.size() / rows;
  for (size_t i = 0; i < rows; ++i) {
    std::ranges::copy(s.span<float>().subspan(i * n, n), z.begin() + static_cast<int64_t>(i * (n + size)));
    for (size_t k = 0; k < size; ++k) z[i * (n + size) + n + k] = static_cast<T>(a[i * size + k]);
  }
}

}  // namespace

ActionCritic::ActionCritic(const NetworkConfig& c, int64_t n_inputs, int64_t action_size, uint64_t seed)
    : n_inputs_(n_inputs),
      action_size_(action_size),
      network_(mlp_of(c, n_inputs + action_size, 1), precision_of(c), seed) {}

const Tensor& ActionCritic::joined(const Tensor& s, std::span<const double> a) {
  const DType dtype = network_.mlp().formats().matrices == DType::f64 ? DType::f64 : DType::f32;
  if (!z_.defined() || z_.dim(0) != s.dim(0)) z_ = Tensor::empty({s.dim(0), n_inputs_ + action_size_}, dtype);
  dtype == DType::f64 ? join(s, a, z_.span<double>()) : join(s, a, z_.span<float>());
  return z_;
}

std::span<const double> ActionCritic::action_gradient(std::span<const double> d_q, double loss_scale) {
  const Frozen frozen(network_);
  const autograd::Var l = loss(d_q);
  l.tape->backward(l, loss_scale);
  const std::span<const double> d_z = network_.input_gradient();
  const auto n = static_cast<size_t>(n_inputs_), size = static_cast<size_t>(action_size_);
  d_a_.resize(d_q.size() * size);
  for (size_t i = 0; i < d_q.size(); ++i) {
    for (size_t k = 0; k < size; ++k) d_a_[i * size + k] = d_z[i * (n + size) + n + k] / loss_scale;
  }
  return d_a_;
}

namespace {

std::vector<autograd::Parameter*> all_parameters(const std::vector<std::unique_ptr<ActionCritic>>& critics) {
  std::vector<autograd::Parameter*> all;
  for (const auto& c : critics) {
    for (autograd::Parameter* p : c->network().parameters()) all.push_back(p);
  }
  return all;
}

}  // namespace

ActionCritics::Critics ActionCritics::make(int64_t n, const NetworkConfig& config, int64_t n_inputs,
                                           int64_t action_size, uint64_t seed) {
  Critics all;
  for (int64_t i = 0; i < n; ++i) {
    all.push_back(std::make_unique<ActionCritic>(config, n_inputs, action_size, seed + static_cast<uint64_t>(i)));
  }
  return all;
}

ActionCritics::ActionCritics(int64_t n, const NetworkConfig& config, int64_t n_inputs, int64_t action_size,
                             uint64_t seed, run::Ranks* ranks)
    : critics_(make(n, config, n_inputs, action_size, seed)),
      targets_(make(n, config, n_inputs, action_size, seed)),
      descent_(all_parameters(critics_), config, {.beta2 = 0.999, .seed = seed}, "critic_", ranks) {}

std::span<const double> ActionCritics::least(Critics& critics, const Tensor& s, std::span<const double> a) {
  const std::span<const double> first = critics.front()->forward(s, a);
  least_.assign(first.begin(), first.end());
  for (size_t c = 1; c < critics.size(); ++c) {
    const std::span<const double> q = critics[c]->forward(s, a);
    for (size_t i = 0; i < least_.size(); ++i) least_[i] = std::min(least_[i], q[i]);
  }
  return least_;
}

void ActionCritics::fit(ReplayBatch& b, std::span<const double> y, double learning_rate, TrainingStats& stats) {
  const auto B = static_cast<double>(b.size());
  const auto delta_of = [](size_t critic) { return 2 * critic; };
  const auto q_of = [](size_t critic) { return 2 * critic + 1; };
  numbers_.begin(std::ssize(b.r), 2 * critics_.size());
  const auto accumulate = [&](const Rows& rows, const auto& backward) {
    const Tensor s = b.s.rows(rows.begin, rows.end);
    const std::span<const double> a = rows.of(b.a, std::ssize(b.a) / std::ssize(b.r));
    d_q_.resize(static_cast<size_t>(rows.size()));
    for (size_t c = 0; c < critics_.size(); ++c) {
      const std::span<const double> q = critics_[c]->record(s, a);
      for (size_t k = 0; k < q.size(); ++k) {
        const int64_t row = rows.begin + static_cast<int64_t>(k);
        const auto i = static_cast<size_t>(row);
        const double delta = numbers_(delta_of(c), row) = y[i] - q[k];
        d_q_[k] = -b.weight[i] * delta / B;
        numbers_(q_of(c), row) = q[k];
      }
      backward(critics_[c]->loss(d_q_));
    }
  };
  const run::TrainStepResult result = descent_.run(std::ssize(b.r), learning_rate, accumulate, &numbers_);
  std::ranges::copy(numbers_.column(delta_of(0)), b.error.begin());
  for (size_t c = 0; c < critics_.size(); ++c) {
    stats.add_root_mean_square("td_error", numbers_.sum_of_squares(delta_of(c)), B);
    stats.add_mean("q", numbers_.sum(q_of(c)) / B, B);
  }
  descent_.add_metrics(result, stats);
}

std::span<const double> ActionCritics::d_first(const Tensor& s, std::span<const double> a, const Mean& mean) {
  d_q_.assign(static_cast<size_t>(s.dim(0)), -1 / static_cast<double>(mean.B));
  critics_.front()->record(s, a);
  return critics_.front()->action_gradient(d_q_, mean.loss_scale);
}

std::span<const double> ActionCritics::d_least(const Tensor& s, std::span<const double> a, const Mean& mean) {
  least_.assign(static_cast<size_t>(s.dim(0)), std::numeric_limits<double>::infinity());
  whose_.assign(least_.size(), 0);
  for (size_t c = 0; c < critics_.size(); ++c) {
    const std::span<const double> q = critics_[c]->record(s, a);
    for (size_t i = 0; i < q.size(); ++i) {
      if (q[i] >= least_[i]) continue;
      least_[i] = q[i];
      whose_[i] = c;
    }
  }
  d_a_.assign(a.size(), 0.0);
  d_q_.resize(least_.size());
  for (size_t c = 0; c < critics_.size(); ++c) {
    for (size_t i = 0; i < d_q_.size(); ++i) d_q_[i] = whose_[i] == c ? -1 / static_cast<double>(mean.B) : 0;
    const std::span<const double> d_a = critics_[c]->action_gradient(d_q_, mean.loss_scale);
    for (size_t k = 0; k < d_a.size(); ++k) d_a_[k] += d_a[k];
  }
  return d_a_;
}

void ActionCritics::follow(double tau) {
  for (size_t i = 0; i < critics_.size(); ++i) targets_[i]->network().mlp().follow(critics_[i]->network().mlp(), tau);
}

void ActionCritics::add_state(const std::string& prefix, NamedTensors& state) {
  for (size_t i = 0; i < critics_.size(); ++i) {
    critics_[i]->network().add_state(fmt::format("{}critic{}.", prefix, i), state);
    targets_[i]->network().add_state(fmt::format("{}target{}.", prefix, i), state);
  }
  descent_.add_state(prefix + "adam.", state);
}

void ActionCritics::restore(const std::string& prefix, const NamedTensors& state) {
  for (size_t i = 0; i < critics_.size(); ++i) {
    critics_[i]->network().restore(fmt::format("{}critic{}.", prefix, i), state);
    targets_[i]->network().restore(fmt::format("{}target{}.", prefix, i), state);
  }
  descent_.restore(prefix + "adam.", state);
}

}  // namespace gradus::rl
