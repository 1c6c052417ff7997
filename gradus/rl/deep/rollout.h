// What a policy did for a while in several environments, and the advantages of its actions.
#pragma once

#include <cstdint>
#include <vector>

#include "gradus/core/tensor.h"

namespace gradus::rl {

// T steps of N environments; step t of environment n is row t N + n.
struct Rollout {
  Rollout(int64_t steps, int64_t n_envs, int64_t n_inputs, int64_t action_size);
  int64_t rows() const { return T * N; }

  int64_t T, N;
  Tensor x;                                    // [rows, n_inputs] f32, what the networks see of S_t
  Tensor actions;                              // [rows, action_size] f32
  std::vector<double> log_probs;               // [rows] log pi(A_t | S_t) when it acted
  std::vector<double> rewards;                 // [rows] R_{t+1}
  std::vector<uint8_t> terminated, truncated;  // [rows] how the episode stood after the step
  Tensor last_x;                               // [N, n_inputs] of the state after the last step
  std::vector<int64_t> cut;                    // rows that were truncated and not terminated, ascending,
  std::vector<float> cut_x;                    // and what the networks see of the true S_{t+1}: [cut, n_inputs]

  // By a critic, see `advantages`.
  std::vector<double> values;       // [rows] v(S_t)
  std::vector<double> next_values;  // [rows] v(S_{t+1}), 0 after a termination; of a truncated step: of the true one
};

// Fills in values and next_values.
//   v(x)  [rows of x] of a tensor [rows, n_inputs], valid until the next call
template <class Values>
void value(Rollout& r, Values&& v);

// Generalised advantage estimation: A_t = delta_t + gamma lambda A_{t+1}, delta_t = R_{t+1} + gamma v(S_{t+1}) -
// v(S_t), where the sum ends with the episode, however it ended. Schulman et al. 2016 (arXiv 1506.02438), eq. (16).
// lambda = 0 is the TD error, 1 the return minus the value.
//   advantages  [rows]
void generalized_advantages(const Rollout& r, double gamma, double lambda, std::vector<double>& advantages);

// x -> (x - mean) / (deviation + 1e-8).
void normalize(std::span<double> x);

template <class Values>
void value(Rollout& r, Values&& v) {
  const auto n = static_cast<size_t>(r.rows()), envs = static_cast<size_t>(r.N);
  const std::span<const double> of_all = v(r.x);
  r.values.assign(of_all.begin(), of_all.end());
  for (size_t i = 0; i + envs < n; ++i) r.next_values[i] = r.values[i + envs];
  const std::span<const double> of_last = v(r.last_x);
  for (size_t i = 0; i < envs; ++i) r.next_values[n - envs + i] = of_last[i];
  if (!r.cut.empty()) {
    const auto rows = static_cast<int64_t>(r.cut.size());
    const std::span<const double> of_cut = v(Tensor::from<float>(r.cut_x, {rows, r.x.dim(1)}));
    for (size_t k = 0; k < r.cut.size(); ++k) r.next_values[static_cast<size_t>(r.cut[k])] = of_cut[k];
  }
  for (size_t i = 0; i < n; ++i) {
    if (r.terminated[i]) r.next_values[i] = 0;
  }
}

}  // namespace gradus::rl
