#include "gradus/posttrain/likelihood.h"

#include <algorithm>

#include "gradus/kernels/convert.h"
#include "gradus/run/ranks.h"

namespace gradus::posttrain {

namespace {

// A prompt of fewer tokens is computed again for each answer: less work than to gather its keys.
constexpr int64_t kLeastSharedPrompt = 8;

// Whether b may go on from a's prompt: one that both have, at the positions that sampling gives it.
bool share_a_prompt(const TrainSequence& a, const TrainSequence& b) {
  const auto n = static_cast<size_t>(a.prompt_tokens);
  return a.prompt_tokens >= kLeastSharedPrompt && a.prompt_tokens == b.prompt_tokens && a.angles.empty() &&
         b.angles.empty() && std::ranges::equal(a.tokens.first(n), b.tokens.first(n));
}

}  // namespace

std::vector<int64_t> shard_bounds(std::span<const TrainSequence> sequences, int64_t n_shards) {
  std::vector<int64_t> n_tokens;
  for (const TrainSequence& s : sequences) n_tokens.push_back(static_cast<int64_t>(s.tokens.size()));
  return run::balanced_parts(n_tokens, n_shards);
}

void PackedLikelihood::add_targets(const TrainSequence& s, int32_t first_row, int32_t last_prompt_row) {
  for (int64_t t = s.prompt_tokens; t < static_cast<int64_t>(s.tokens.size()); ++t) {
    const auto ahead = static_cast<int32_t>(t - s.prompt_tokens);  // tokens of the response before this one
    rows_.push_back(ahead == 0 ? last_prompt_row : first_row + ahead - 1);
    targets_.push_back(s.tokens[static_cast<size_t>(t)]);
  }
}

size_t PackedLikelihood::pack(std::span<const TrainSequence> sequences, size_t begin) {
  batch_.clear();
  rows_.clear();
  targets_.clear();
  for (size_t i = begin; i < sequences.size();) {
    const TrainSequence& s = sequences[i];
    GRADUS_CHECK(s.prompt_tokens >= 1 && s.response_tokens() >= 1);
    const bool shared = i + 1 < sequences.size() && share_a_prompt(s, sequences[i + 1]);
    const int64_t inputs = static_cast<int64_t>(s.tokens.size()) - 1;  // the last token is only predicted
    if (i > begin && batch_.rows() + inputs > max_rows_) return finish_pack(i);
    const auto first_row = static_cast<int32_t>(batch_.rows());
    if (!shared) {
      batch_.append(s.tokens.first(static_cast<size_t>(inputs)));
      if (!s.angles.empty()) batch_.angles.insert(batch_.angles.end(), s.angles.begin(), s.angles.begin() + inputs);
      const auto response = first_row + static_cast<int32_t>(s.prompt_tokens);
      add_targets(s, response, response - 1);
      ++i;
      continue;
    }
    // The prompt once, then every response that fits.
    const int64_t prompt = batch_.n_sequences();
    batch_.append(s.tokens.first(static_cast<size_t>(s.prompt_tokens)));
    const int32_t last_prompt_row = static_cast<int32_t>(batch_.rows()) - 1;
    const size_t first = i;
    for (; i < sequences.size() && share_a_prompt(s, sequences[i]); ++i) {
      const TrainSequence& answer = sequences[i];
      GRADUS_CHECK(answer.response_tokens() >= 1);
      const int64_t rows = answer.response_tokens() - 1;
      if (i > first && batch_.rows() + rows > max_rows_) return finish_pack(i);
      const auto response = static_cast<int32_t>(batch_.rows());
      if (rows > 0) {
        batch_.append_continuation(
            answer.tokens.subspan(static_cast<size_t>(s.prompt_tokens), static_cast<size_t>(rows)), prompt);
      }
      add_targets(answer, response, last_prompt_row);
    }
  }
  return finish_pack(sequences.size());
}

size_t PackedLikelihood::finish_pack(size_t end) {
  GRADUS_CHECK(batch_.angles.empty() || batch_.angles.size() == batch_.ids.size());
  batch_.number_pages();
  return end;
}

void PackedLikelihood::run(std::span<const TrainSequence> sequences, const Weigh& weigh, const Backward& backward) {
  tape_.reset();  // a call before may have thrown
  for (size_t begin = 0, end = 0; begin < sequences.size(); begin = end) {
    end = pack(sequences, begin);
    const nn::Var hidden = model_.hidden(tape_, batch_);
    const nn::Var log_probs = autograd::token_log_probs(hidden, model_.head(), rows_, targets_, temperature_);
    const Tensor as_floats = kernels::converted(log_probs.value(), DType::f32);
    const std::span<const float> values = as_floats.span<float>();
    weights_.clear();
    for (size_t i = begin; i < end; ++i) {
      const auto n = static_cast<size_t>(sequences[i].response_tokens());
      const double w = weigh(i, values.subspan(weights_.size(), n));
      weights_.insert(weights_.end(), n, -w);
    }
    backward(autograd::weighted_sum(log_probs, weights_), end == sequences.size());
    tape_.reset();
  }
}

void PackedLikelihood::evaluate(std::span<const TrainSequence> sequences,
                                const std::function<void(size_t, std::span<const float>)>& visit) {
  inference_.reset();
  for (size_t begin = 0, end = 0; begin < sequences.size(); begin = end) {
    end = pack(sequences, begin);
    const nn::Var hidden = model_.hidden(inference_, batch_);
    const nn::Var log_probs = autograd::token_log_probs(hidden, model_.head(), rows_, targets_, temperature_);
    const Tensor as_floats = kernels::converted(log_probs.value(), DType::f32);
    std::span<const float> values = as_floats.span<float>();
    for (size_t i = begin; i < end; ++i) {
      const auto n = static_cast<size_t>(sequences[i].response_tokens());
      visit(i, values.first(n));
      values = values.subspan(n);
    }
    inference_.reset();
  }
}

}  // namespace gradus::posttrain
