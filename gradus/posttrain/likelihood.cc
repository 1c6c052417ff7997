#include "gradus/posttrain/likelihood.h"

#include "gradus/kernels/convert.h"

namespace gradus::posttrain {

size_t PackedLikelihood::pack(std::span<const TrainSequence> sequences, size_t begin) {
  batch_.clear();
  rows_.clear();
  targets_.clear();
  size_t end = begin;
  for (; end < sequences.size(); ++end) {
    const TrainSequence& s = sequences[end];
    GRADUS_CHECK(s.prompt_tokens >= 1 && s.response_tokens() >= 1);
    const auto inputs = static_cast<int64_t>(s.tokens.size()) - 1;  // the last token is only predicted
    if (end > begin && batch_.rows() + inputs > max_rows_) break;
    const auto first_row = static_cast<int32_t>(batch_.rows());
    batch_.append(s.tokens.first(static_cast<size_t>(inputs)));
    if (!s.angles.empty()) batch_.angles.insert(batch_.angles.end(), s.angles.begin(), s.angles.begin() + inputs);
    for (int64_t t = s.prompt_tokens; t <= inputs; ++t) {
      rows_.push_back(first_row + static_cast<int32_t>(t) - 1);
      targets_.push_back(s.tokens[static_cast<size_t>(t)]);
    }
  }
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
    backward(autograd::weighted_sum(log_probs, weights_));
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
