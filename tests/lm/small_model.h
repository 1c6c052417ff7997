// A small language model with random weights for the tests of sampling: its distributions are far from uniform, so that
// answers differ in length and a rounding error in any weight reaches the log-probabilities.
#pragma once

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "gradus/lm/model.h"
#include "gradus/lm/sampler.h"
#include "tests/kernels/grid.h"

namespace gradus::lm {

inline nn::TransformerConfig small_config() {
  return {.layers = 2,
          .width = 32,
          .heads = 4,
          .kv_heads = 2,
          .ffn_width = 64,
          .max_positions = 256,
          .qkv_bias = true,
          .tie_embeddings = false};
}

inline Model small_model(nn::TransformerConfig config = small_config(), uint64_t seed = 1) {
  Model model = Model::create(config, character_tokenizer("0123456789+-*#>|=", "$"), seed);
  for (size_t i = 0; i < model.transformer().parameters().size(); ++i) {
    nn::Parameter& p = *model.transformer().parameters()[i];
    const bool is_gain = p.name.ends_with("norm.weight");
    const double fan_in = p.value.rank() == 1 ? 10.0 : static_cast<double>(p.value.dim(1));
    const Tensor x = kernels::random_tensor(p.value.shape(), DType::f32, 100 * seed + i, 1.5 / std::sqrt(fan_in));
    for (int64_t j = 0; j < x.numel(); ++j) p.value.data<float>()[j] = x.data<float>()[j] + (is_gain ? 1.0f : 0.0f);
    p.changed();
  }
  return model;
}

// Prompts of the given lengths.
inline std::vector<std::vector<int32_t>> random_prompts(std::span<const int64_t> lengths) {
  std::vector<std::vector<int32_t>> prompts;
  for (size_t i = 0; i < lengths.size(); ++i) prompts.push_back(kernels::random_ids(lengths[i], 17, 50 + i));
  return prompts;
}

inline std::vector<SampleRequest> requests_of(std::span<const std::vector<int32_t>> prompts) {
  std::vector<SampleRequest> requests;
  for (size_t i = 0; i < prompts.size(); ++i) requests.push_back({prompts[i], i});
  return requests;
}

// What the trainer's packed forward pass gives for the samples' tokens, all sequences in one batch.
inline std::vector<std::vector<float>> trainer_log_probs(Model& model, std::span<const std::vector<int32_t>> prompts,
                                                         std::span<const Sample> samples, double temperature) {
  nn::TokenBatch batch;
  std::vector<int32_t> rows, ids;
  for (size_t s = 0; s < samples.size(); ++s) {
    std::vector<int32_t> tokens = prompts[s];
    tokens.insert(tokens.end(), samples[s].tokens.begin(), samples[s].tokens.end());
    tokens.pop_back();  // the last is only predicted
    const auto first = static_cast<int32_t>(batch.rows() + static_cast<int64_t>(prompts[s].size())) - 1;
    batch.append(tokens);
    for (size_t t = 0; t < samples[s].tokens.size(); ++t) {
      rows.push_back(first + static_cast<int32_t>(t));
      ids.push_back(samples[s].tokens[t]);
    }
  }
  batch.number_pages();
  nn::Tape tape;  // records, as in training
  const nn::Var hidden = model.transformer().hidden(tape, batch);
  const nn::Var all = autograd::token_log_probs(hidden, model.transformer().head(), rows, ids, temperature);
  std::span<const float> values = all.value().span<float>();
  std::vector<std::vector<float>> out;
  for (const Sample& s : samples) {
    out.emplace_back(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(s.tokens.size()));
    values = values.subspan(s.tokens.size());
  }
  return out;
}

// Tokens whose recorded log-probability is not, bit for bit, the trainer's.
inline int64_t mismatches(Model& model, std::span<const std::vector<int32_t>> prompts, std::span<const Sample> samples,
                          double temperature) {
  const std::vector<std::vector<float>> trainer = trainer_log_probs(model, prompts, samples, temperature);
  int64_t n = 0;
  for (size_t s = 0; s < samples.size(); ++s) {
    for (size_t t = 0; t < samples[s].log_probs.size(); ++t) {
      n += std::bit_cast<uint32_t>(samples[s].log_probs[t]) != std::bit_cast<uint32_t>(trainer[s][t]);
    }
  }
  return n;
}

inline bool same_samples(const Sample& a, const Sample& b) {
  return a.tokens == b.tokens && a.log_probs == b.log_probs && a.ended == b.ended;
}

}  // namespace gradus::lm
