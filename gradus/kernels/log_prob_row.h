// The one place where a recorded log-probability is made, for the trainer (softmax.cc) and the sampler (sampling.cc)
// alike. Internal to gradus/kernels.
#pragma once

#include <cmath>
#include <string_view>

#include "gradus/kernels/cpu/softmax.h"
#include "gradus/kernels/dispatch.h"

namespace gradus::kernels {

// A temperature whose inverse is a positive finite float.
inline void require_temperature(std::string_view op, double temperature) {
  require(temperature > 0 && std::isfinite(temperature) && std::isfinite(static_cast<float>(1.0 / temperature)),
          "{}: temperature is {} but it and its inverse must be positive and finite", op, temperature);
}

template <class T>
T inverse_temperature(double temperature) {
  return static_cast<T>(1.0 / temperature);
}

template <class T>
T row_log_sum_exp(const T* z, int64_t n_vocab, T inv) {
  return choose(ref::log_sum_exp<T>, cpu::log_sum_exp)(z, n_vocab, inv);
}

template <class T>
T row_log_prob(T z_id, T inv, T lse) {
  return z_id * inv - lse;
}

}  // namespace gradus::kernels
