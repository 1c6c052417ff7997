#include "gradus/optim/adamw.h"

#include <cmath>

#include "gradus/kernels/adamw.h"
#include "gradus/kernels/convert.h"

namespace gradus::optim {

namespace {

bool is_whole(const Piece& piece, const Tensor& t) {
  return piece.size() == t.numel();
}

}  // namespace

Tensor piece_of(const Tensor& t, const Piece& piece) {
  return is_whole(piece, t) ? t : t.view({t.numel()}).rows(piece.begin, piece.end);
}

AdamW::AdamW(std::vector<autograd::Parameter*> parameters, const AdamWConfig& config)
    : parameters_(std::move(parameters)), config_(config) {
  std::vector<Piece> all;
  for (size_t i = 0; i < parameters_.size(); ++i) all.push_back({i, 0, parameters_[i]->value.numel()});
  take_pieces(std::move(all));
}

void AdamW::take_pieces(std::vector<Piece> pieces) {
  pieces_ = std::move(pieces);
  m_.clear();
  v_.clear();
  for (const Piece& piece : pieces_) {
    const autograd::Parameter& p = *parameters_[piece.parameter];
    GRADUS_CHECK(piece.begin % 8 == 0 && 0 <= piece.begin && piece.begin < piece.end && piece.end <= p.value.numel());
    const DType dtype = kernels::computed_in(p.weights().dtype());
    const Shape shape = is_whole(piece, p.value) ? p.value.shape() : Shape{piece.size()};
    m_.push_back(Tensor::zeros(shape, dtype));
    v_.push_back(Tensor::zeros(shape, dtype));
  }
}

void AdamW::step(double learning_rate, double grad_scale, std::span<const Tensor> gradients) {
  ++steps_;
  const auto t = static_cast<double>(steps_);
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    autograd::Parameter& p = *parameters_[piece.parameter];
    Tensor weights = piece_of(p.weights(), piece);
    kernels::adamw_update(weights, gradients.empty() ? piece_of(p.grad, piece) : gradients[i], m_[i], v_[i],
                          {.learning_rate = learning_rate * p.rate,
                           .beta1 = config_.beta1,
                           .beta2 = config_.beta2,
                           .eps = config_.eps,
                           .weight_decay = p.value.rank() >= 2 ? config_.weight_decay : 0.0,
                           .bias_correction1 = 1.0 - std::pow(config_.beta1, t),
                           .bias_correction2 = 1.0 - std::pow(config_.beta2, t),
                           .grad_scale = grad_scale},
                          {.seed = config_.seed,
                           .index = problem_ * parameters_.size() + piece.parameter,
                           .step = static_cast<uint32_t>(steps_),
                           .first = piece.begin});
    if (is_whole(piece, p.value)) p.changed();  // else whoever gathers the pieces calls it
  }
}

void AdamW::reset(uint64_t problem) {
  for (Tensor& m : m_) m.fill_zero();
  for (Tensor& v : v_) v.fill_zero();
  steps_ = 0;
  problem_ = problem;
}

}  // namespace gradus::optim
