#include "gradus/posttrain/heads_loss.h"

#include <algorithm>
#include <cmath>

namespace gradus::posttrain {

namespace {

double as_double(const Tensor& x) {
  return x.dtype() == DType::f64 ? x.data<double>()[0] : static_cast<double>(x.data<float>()[0]);
}

// The first token of a sequence that loss i, which looks 1 + i tokens ahead, has to predict.
int64_t first_target(const TrainSequence& s, int64_t i) {
  return std::max(s.prompt_tokens, 1 + i);
}

}  // namespace

HeadsLoss::Weights HeadsLoss::weights(const lm::MedusaHeads& heads, double trunk, double lambda, double decay) {
  Weights w = {trunk};
  for (int64_t k = 0; k < heads.config().heads; ++k) w.push_back(lambda * std::pow(decay, static_cast<double>(k + 1)));
  return w;
}

std::vector<int64_t> HeadsLoss::count_targets(std::span<const TrainSequence> sequences) const {
  std::vector<int64_t> n(static_cast<size_t>(heads_.config().heads) + 1, 0);
  for (const TrainSequence& s : sequences) {
    for (size_t i = 0; i < n.size(); ++i) {
      n[i] += std::max<int64_t>(0, static_cast<int64_t>(s.tokens.size()) - first_target(s, static_cast<int64_t>(i)));
    }
  }
  return n;
}

size_t HeadsLoss::pack(std::span<const TrainSequence> sequences, size_t begin) {
  batch_.clear();
  rows_.assign(static_cast<size_t>(heads_.config().heads) + 1, {});
  targets_ = rows_;
  size_t end = begin;
  for (; end < sequences.size(); ++end) {
    const TrainSequence& s = sequences[end];
    const size_t inputs = s.tokens.size() - 1;  // the last token is only predicted
    if (end > begin && batch_.rows() + static_cast<int64_t>(inputs) > max_rows_) break;
    const int64_t first_row = batch_.rows();
    batch_.append(s.tokens.first(inputs));
    for (size_t i = 0; i < rows_.size(); ++i) {
      const auto ahead = static_cast<int64_t>(i) + 1;
      for (int64_t t = first_target(s, static_cast<int64_t>(i)); t < static_cast<int64_t>(s.tokens.size()); ++t) {
        rows_[i].push_back(static_cast<int32_t>(first_row + t - ahead));
        targets_[i].push_back(s.tokens[static_cast<size_t>(t)]);
      }
    }
  }
  batch_.number_pages();
  return end;
}

void HeadsLoss::run(std::span<const TrainSequence> sequences, std::span<const double> weights,
                    std::span<const int64_t> n_targets, std::span<double> losses,
                    const std::function<void(nn::Var loss, bool last)>& backward) {
  for (size_t begin = 0; begin < sequences.size();) {
    begin = pack(sequences, begin);
    tape_.reset();
    const nn::Var loss = loss_of_batch(weights, n_targets, losses);
    if (loss.defined()) backward(loss, begin == sequences.size());
  }
  tape_.reset();
}

nn::Var HeadsLoss::loss_of_batch(std::span<const double> weights, std::span<const int64_t> n_targets,
                                 std::span<double> losses) {
  nn::Var x;
  if (weights[0] > 0) {
    x = trunk_.hidden(tape_, batch_);
  } else {
    inference_.reset();
    x = tape_.constant(trunk_.hidden(inference_, batch_).value());
  }
  target_weights_.resize(rows_.size());
  nn::Var total;
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (weights[i] == 0 || rows_[i].empty()) continue;
    const auto head = static_cast<int64_t>(i) - 1;
    const nn::Var h = i == 0 ? x : heads_.hidden(x, head);
    nn::Parameter& output = i == 0 ? trunk_.head() : heads_.output(head);
    const nn::Var log_probs = autograd::token_log_probs(h, output, rows_[i], targets_[i], 1.0);
    target_weights_[i].assign(rows_[i].size(), -weights[i] / static_cast<double>(n_targets[i]));
    const nn::Var loss = autograd::weighted_sum(log_probs, target_weights_[i]);
    losses[i] += as_double(loss.value()) / weights[i];
    total = total.defined() ? autograd::add(total, loss) : loss;
  }
  return total;
}

}  // namespace gradus::posttrain
