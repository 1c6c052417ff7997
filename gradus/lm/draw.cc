#include "gradus/lm/draw.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "gradus/core/error.h"
#include "gradus/kernels/softmax.h"

namespace gradus::lm {

void DrawFilters::check() const {
  require(top_k >= 0, "sampler: top_k is {}, but must be 0 (off) or more", top_k);
  require(top_p > 0 && top_p <= 1, "sampler: top_p is {}, but must be above 0 and at most 1 (off)", top_p);
  require(min_p >= 0 && min_p <= 1, "sampler: min_p is {}, but must be from 0 (off) to 1", min_p);
  require(repetition_penalty > 0 && std::isfinite(repetition_penalty),
          "sampler: repetition_penalty is {}, but must be positive; 1 is off", repetition_penalty);
  require(std::isfinite(presence_penalty) && std::isfinite(frequency_penalty),
          "sampler: presence_penalty {} and frequency_penalty {} must be finite", presence_penalty, frequency_penalty);
}

namespace {

// A token that may still be drawn, with its logit and then its weight, exp(s - max s).
struct Candidate {
  int32_t id;
  double value;
};

// Larger values first, lower ids first among equals.
bool likelier(const Candidate& a, const Candidate& b) {
  return a.value != b.value ? a.value > b.value : a.id < b.id;
}

template <class T>
std::vector<Candidate> candidates_of(const T* logits, int64_t n_ids, const DrawFilters& filters,
                                     const DrawRequest& request) {
  std::vector<Candidate> all(static_cast<size_t>(n_ids));
  for (size_t id = 0; id < all.size(); ++id) all[id] = {static_cast<int32_t>(id), static_cast<double>(logits[id])};
  if (!filters.penalise()) return all;
  std::unordered_map<int32_t, int64_t> in_response;  // of every token of the text
  for (size_t i = 0; i < request.text.size(); ++i) {
    in_response[request.text[i]] += static_cast<int64_t>(i) >= request.prompt_tokens ? 1 : 0;
  }
  for (const auto& [id, n] : in_response) {
    if (id >= n_ids) continue;
    double& z = all[static_cast<size_t>(id)].value;
    z = z > 0 ? z / filters.repetition_penalty : z * filters.repetition_penalty;
    if (n > 0) z -= filters.presence_penalty + filters.frequency_penalty * static_cast<double>(n);
  }
  return all;
}

// Leaves those that pass the filters, with weights, in any order.
void filter(std::vector<Candidate>& candidates, double temperature, const DrawFilters& filters) {
  if (filters.top_k > 0 && static_cast<size_t>(filters.top_k) < candidates.size()) {
    std::ranges::nth_element(candidates, candidates.begin() + filters.top_k - 1, likelier);
    candidates.resize(static_cast<size_t>(filters.top_k));
  }
  const double largest = std::ranges::max_element(candidates, {}, &Candidate::value)->value;
  for (Candidate& c : candidates) c.value = std::exp((c.value - largest) / temperature);
  if (filters.top_p < 1) {
    std::ranges::sort(candidates, likelier);
    double total = 0, sum = 0;
    for (const Candidate& c : candidates) total += c.value;
    size_t kept = 0;
    while (kept < candidates.size() && sum < filters.top_p * total) sum += candidates[kept++].value;
    candidates.resize(std::max<size_t>(kept, 1));
  }
  std::erase_if(candidates, [&](const Candidate& c) { return c.value < filters.min_p; });  // the likeliest weighs 1
}

template <class T>
int32_t draw_id(const T* logits, int64_t n_ids, double temperature, const DrawFilters& filters,
                const DrawRequest& request) {
  std::vector<Candidate> candidates = candidates_of(logits, n_ids, filters, request);
  if (temperature == 0) return std::ranges::min_element(candidates, likelier)->id;
  filter(candidates, temperature, filters);
  std::ranges::sort(candidates, {}, &Candidate::id);
  double total = 0, sum = 0;
  for (const Candidate& c : candidates) total += c.value;
  for (const Candidate& c : candidates) {
    sum += c.value;
    if (sum > static_cast<double>(request.uniform) * total) return c.id;
  }
  return candidates.back().id;
}

}  // namespace

void TokenDrawer::draw(const Tensor& logits, double temperature, const DrawFilters& filters,
                       std::span<const DrawRequest> requests, int64_t n_drawn) {
  draws_.clear();
  for (const DrawRequest& r : requests) {
    draws_.push_back({.row = r.row, .temperature = temperature, .uniform = r.uniform});
  }
  kernels::sample_tokens(logits, draws_, n_drawn);
  if (!filters.narrow()) return;
  const int64_t n_vocab = logits.dim(1);
  Tensor log_p = Tensor::empty({1}, logits.dtype()), lse = Tensor::empty({1}, logits.dtype());
  for (size_t i = 0; i < requests.size(); ++i) {
    kernels::TokenDraw& d = draws_[i];
    const bool wide = logits.dtype() == DType::f64;
    d.id = wide ? draw_id(logits.data<double>() + d.row * n_vocab, n_drawn, temperature, filters, requests[i])
                : draw_id(logits.data<float>() + d.row * n_vocab, n_drawn, temperature, filters, requests[i]);
    kernels::log_prob(logits.rows(d.row, d.row + 1), std::span(&d.id, 1), temperature == 0 ? 1 : temperature, log_p,
                      lse);
    d.log_prob = wide ? static_cast<float>(log_p.data<double>()[0]) : log_p.data<float>()[0];
  }
}

}  // namespace gradus::lm
