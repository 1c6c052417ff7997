// From the textbook's softmax to FlashAttention in four rungs, one query row each. They compute the same function;
// every rung needs one pass less over the scores, or less memory, than the one before. For reading and for tests; what
// runs is gradus/kernels/attention.h, whose blocks are the last rung.
//
// Keys and values are rows [n, D], o is [D]; T is float or double, in double these are the oracle. n >= 1.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace gradus::kernels::ref {

template <class T>
struct KeysAndValues {
  int64_t n, D;
  T scale;
  const T *keys, *values;

  T score(const T* q, int64_t j) const {
    T sum = 0;
    for (int64_t d = 0; d < D; ++d) sum += q[d] * keys[j * D + d];
    return scale * sum;
  }
};

// Rung 1, safe softmax: one pass for the largest x, one for the sum, one for the result.
//   m = max_j x_j;   l = sum_j e^(x_j - m);   p_j = e^(x_j - m) / l
template <class T>
std::vector<T> softmax_in_three_passes(std::span<const T> x) {
  T m = -std::numeric_limits<T>::infinity();
  for (const T v : x) m = std::max(m, v);
  T l = 0;
  for (const T v : x) l += std::exp(v - m);
  std::vector<T> p;
  for (const T v : x) p.push_back(std::exp(v - m) / l);
  return p;
}

// Rung 2, online softmax (arXiv 1805.02867, algorithm 3): largest and sum in one pass, since a larger m only scales the
// sum so far.
//   m' = max(m, x_j);   l' = l e^(m - m') + e^(x_j - m')
template <class T>
std::vector<T> softmax_in_two_passes(std::span<const T> x) {
  T m = -std::numeric_limits<T>::infinity(), l = 0;
  for (const T v : x) {
    const T m2 = std::max(m, v);
    l = l * std::exp(m - m2) + std::exp(v - m2);
    m = m2;
  }
  std::vector<T> p;
  for (const T v : x) p.push_back(std::exp(v - m) / l);
  return p;
}

// The textbook's attention: o = sum_j p_j v_j with the whole row of p in memory.
template <class T>
void attention_from_softmax(const T* q, const KeysAndValues<T>& kv, T* o) {
  std::vector<T> scores;
  for (int64_t j = 0; j < kv.n; ++j) scores.push_back(kv.score(q, j));
  const std::vector<T> p = softmax_in_three_passes<T>(scores);
  std::fill_n(o, kv.D, T(0));
  for (int64_t j = 0; j < kv.n; ++j) {
    for (int64_t d = 0; d < kv.D; ++d) o[d] += p[j] * kv.values[j * kv.D + d];
  }
}

// Rung 3, attention in one pass: the weighted sum of values is scaled like l, and p is never stored.
//   u' = u e^(m - m') + e^(s_j - m') v_j;   in the end o = u / l
template <class T>
void attention_in_one_pass(const T* q, const KeysAndValues<T>& kv, T* o) {
  T m = -std::numeric_limits<T>::infinity(), l = 0;
  std::fill_n(o, kv.D, T(0));  // u
  for (int64_t j = 0; j < kv.n; ++j) {
    const T s = kv.score(q, j), m2 = std::max(m, s), alpha = std::exp(m - m2), e = std::exp(s - m2);
    l = l * alpha + e;
    for (int64_t d = 0; d < kv.D; ++d) o[d] = o[d] * alpha + e * kv.values[j * kv.D + d];
    m = m2;
  }
  for (int64_t d = 0; d < kv.D; ++d) o[d] /= l;
}

// What a row has seen of some of its keys; {} of none. States of two parts merge into that of both: this is why tiles,
// pages, shared prefixes and split keys all work.
template <class T>
struct SoftmaxState {
  T m = -std::numeric_limits<T>::infinity(), l = 0;
  std::vector<T> u;  // [D]

  friend SoftmaxState merge(const SoftmaxState& a, const SoftmaxState& b) {
    if (a.u.empty() || b.u.empty()) return a.u.empty() ? b : a;
    SoftmaxState both{.m = std::max(a.m, b.m), .l = 0, .u = a.u};
    const T of_a = std::exp(a.m - both.m), of_b = std::exp(b.m - both.m);
    both.l = a.l * of_a + b.l * of_b;
    for (size_t d = 0; d < a.u.size(); ++d) both.u[d] = a.u[d] * of_a + b.u[d] * of_b;
    return both;
  }
};

template <class T>
SoftmaxState<T> state_of(const T* q, const KeysAndValues<T>& kv, int64_t begin, int64_t end) {
  SoftmaxState<T> state{.u = std::vector<T>(kv.D)};
  for (int64_t j = begin; j < end; ++j) state.m = std::max(state.m, kv.score(q, j));
  for (int64_t j = begin; j < end; ++j) {
    const T e = std::exp(kv.score(q, j) - state.m);
    state.l += e;
    for (int64_t d = 0; d < kv.D; ++d) state.u[d] += e * kv.values[j * kv.D + d];
  }
  return state;
}

// Rung 4, tiles: the same over blocks of keys, so that the scores of a block are products of small matrices that stay
// in the cache, and the rescaling is paid once a block.
template <class T>
void attention_in_tiles(const T* q, const KeysAndValues<T>& kv, int64_t block, T* o) {
  SoftmaxState<T> seen;
  for (int64_t first = 0; first < kv.n; first += block) {
    seen = merge(seen, state_of(q, kv, first, std::min(first + block, kv.n)));
  }
  for (int64_t d = 0; d < kv.D; ++d) o[d] = seen.u[d] / seen.l;
}

}  // namespace gradus::kernels::ref
