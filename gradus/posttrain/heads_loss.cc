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
  next_.clear();
  rows_.assign(static_cast<size_t>(heads_.config().heads) + 1, {});
  targets_ = rows_;
  size_t end = begin;
  for (; end < sequences.size(); ++end) {
    const TrainSequence& s = sequences[end];
    const size_t inputs = s.tokens.size() - 1;  // the last token is only predicted
    if (end > begin && batch_.rows() + static_cast<int64_t>(inputs) > max_rows_) break;
    const int64_t first_row = batch_.rows();
    batch_.append(s.tokens.first(inputs));
    next_.insert(next_.end(), s.tokens.begin() + 1, s.tokens.end());
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

Tensor HeadsLoss::hidden(nn::Transformer& transformer) {
  inference_.reset();
  return transformer.hidden(inference_, batch_).value();
}

// The sum over the batch's rows that have a target.
nn::Var HeadsLoss::loss_of_trunk(nn::Var x, double weight) {
  std::vector<double>& weights = target_weights_[0];
  if (teacher_ == nullptr) {
    weights.assign(rows_[0].size(), -weight);
    return autograd::weighted_sum(autograd::token_log_probs(x, trunk_.head(), rows_[0], targets_[0], 1.0), weights);
  }
  weights.assign(rows_[0].size(), weight);
  return autograd::weighted_sum(autograd::divergence(x, trunk_.head(), rows_[0], hidden(*teacher_), teacher_->head()),
                                weights);
}

nn::Var HeadsLoss::loss_of_batch(std::span<const double> weights, std::span<const int64_t> n_targets,
                                 std::span<double> losses) {
  const nn::Var x = weights[0] > 0 ? trunk_.hidden(tape_, batch_) : tape_.constant(hidden(trunk_));
  const nn::Var next = heads_.read(tape_, next_);
  target_weights_.resize(rows_.size());
  nn::Var total;
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (weights[i] == 0 || rows_[i].empty()) continue;
    const double weight = weights[i] / static_cast<double>(n_targets[i]);
    nn::Var loss;
    if (i == 0) {
      loss = loss_of_trunk(x, weight);
    } else {
      const auto head = static_cast<int64_t>(i) - 1;
      target_weights_[i].assign(rows_[i].size(), -weight);
      loss = autograd::weighted_sum(
          autograd::token_log_probs(heads_.hidden(x, next, head), heads_.output(head), rows_[i], targets_[i], 1.0),
          target_weights_[i]);
    }
    losses[i] += as_double(loss.value()) / weights[i];
    total = total.defined() ? autograd::add(total, loss) : loss;
  }
  return total;
}

}  // namespace gradus::posttrain
