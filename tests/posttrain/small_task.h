// What the tests of learners share: a task that a tiny model half knows from the start, such models, and bits of
// weights.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gradus/lm/model.h"
#include "gradus/posttrain/task.h"
#include "gradus/posttrain/tasks/chain.h"
#include "tests/kernels/grid.h"

namespace gradus::posttrain {

// Right if the answer starts with the first of the problem's bits: a random model is right one time in five or so.
class FirstBit final : public Task {
 public:
  Problem make(Rng& rng, int difficulty) const override {
    Problem p;
    p.difficulty = difficulty;
    for (int i = 0; i < 10; ++i) p.text += rng.below(2) == 1 ? '1' : '0';
    p.answer = p.text.substr(0, 1);
    return p;
  }
  std::string prompt(const Problem& p) const override { return p.text + '#'; }
  Reward judge(const Problem& p, std::string_view answer) const override {
    const bool correct = answer.starts_with(p.answer);
    return {.value = correct ? 1.0 : 0.0, .correct = correct, .components = {}};
  }
  std::string demonstration(const Problem& p, Rng&) const override { return p.answer; }
  std::string alphabet() const override { return "01#"; }
};

// A tied head would make an untrained model repeat its last token.
inline nn::TransformerConfig tiny_config() {
  return {.layers = 2,
          .width = 32,
          .heads = 4,
          .kv_heads = 2,
          .ffn_width = 64,
          .max_positions = 128,
          .tie_embeddings = false};
}

inline lm::Model tiny_model(const Task& task, uint64_t seed = 1, nn::TransformerConfig config = tiny_config()) {
  return lm::Model::create(config, lm::character_tokenizer(task.alphabet(), task.end_of_text()), seed);
}

inline std::vector<Tensor> weights_of(lm::Model& model) {
  std::vector<Tensor> out;
  for (const nn::Parameter* p : model.transformer().parameters()) out.push_back(p->value.clone());
  return out;
}

inline std::vector<Tensor> gradients_of(lm::Model& model) {
  std::vector<Tensor> out;
  for (const nn::Parameter* p : model.transformer().parameters()) out.push_back(p->grad.clone());
  return out;
}

inline bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!kernels::same_bits(a[i], b[i])) return false;
  }
  return true;
}

inline double metric(const std::vector<std::pair<std::string, double>>& metrics, std::string_view name) {
  for (const auto& [key, value] : metrics) {
    if (key == name) return value;
  }
  ADD_FAILURE() << "no metric " << name;
  return 0;
}

// A model in double with the same weights: the oracle for slopes.
inline std::unique_ptr<nn::Transformer> in_double(const nn::Transformer& model) {
  auto wide = std::make_unique<nn::Transformer>(model.config(), nn::Precision::fp64);
  for (size_t i = 0; i < wide->parameters().size(); ++i) {
    kernels::convert(model.parameters()[i]->value, wide->parameters()[i]->value);
  }
  return wide;
}

// sum_t log pi(y_t) of one sequence, in double.
inline double log_likelihood(nn::Transformer& wide, std::span<const int32_t> tokens, int64_t prompt_tokens,
                             double temperature) {
  nn::TokenBatch batch;
  batch.append(tokens.first(tokens.size() - 1));
  batch.number_pages();
  std::vector<int32_t> rows, ids;
  for (auto t = static_cast<size_t>(prompt_tokens); t < tokens.size(); ++t) {
    rows.push_back(static_cast<int32_t>(t) - 1);
    ids.push_back(tokens[t]);
  }
  nn::Tape tape(nn::Tape::Mode::inference);
  const nn::Var log_probs = autograd::token_log_probs(wide.hidden(tape, batch), wide.head(), rows, ids, temperature);
  double sum = 0;
  for (const double x : log_probs.value().span<double>()) sum += x;
  return sum;
}

// Compares a float gradient with the slopes of `loss(wide)` along random directions, one for each parameter.
template <class Loss>
void expect_slopes(const nn::Transformer& model, const std::vector<Tensor>& gradients, Loss loss, double tolerance) {
  constexpr double kStep = 1e-5;
  const auto wide = in_double(model);
  double largest = 0;
  for (const Tensor& g : gradients) {
    for (const float x : g.span<float>()) largest = std::max(largest, std::abs(static_cast<double>(x)));
  }
  ASSERT_GT(largest, 0);
  for (size_t i = 0; i < gradients.size(); ++i) {
    Tensor& w = wide->parameters()[i]->value;
    const Tensor at = w.clone(), direction = kernels::random_tensor(w.shape(), DType::f64, 900 + i);
    const auto loss_at = [&](double step) {
      for (int64_t j = 0; j < w.numel(); ++j) {
        w.data<double>()[j] = at.data<double>()[j] + step * direction.data<double>()[j];
      }
      return loss(*wide);
    };
    const double slope = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    loss_at(0);
    double along = 0, norm = 0;
    for (int64_t j = 0; j < w.numel(); ++j) {
      const double g = gradients[i].data<float>()[j];
      along += g * direction.data<double>()[j];
      norm += g * g;
    }
    EXPECT_NEAR(along, slope, tolerance * (std::sqrt(norm) + largest)) << wide->parameters()[i]->name;
  }
}

}  // namespace gradus::posttrain
