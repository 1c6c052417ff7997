#include "gradus/optim/adamw.h"

#include <cmath>

#include "gradus/kernels/adamw.h"
#include "gradus/kernels/convert.h"

namespace gradus::optim {

namespace {

bool is_whole(const Piece& piece, const Tensor& t) {
  return piece.size() == t.numel();
}

// What is updated: of the master, which may be this piece alone, or of the value.
Tensor weights_of(autograd::Parameter& p, const Piece& piece) {
  if (p.has_all_weights()) return piece_of(p.weights(), piece);
  GRADUS_CHECK(p.master.numel() == piece.size());
  return p.master;
}

}  // namespace

Tensor piece_of(const Tensor& t, const Piece& piece) {
  return is_whole(piece, t) ? t : t.view({t.numel()}).rows(piece.begin, piece.end);
}

void cut_masters(std::span<autograd::Parameter* const> parameters, std::span<const Piece> pieces) {
  std::vector<Piece> of(parameters.size());
  for (const Piece& piece : pieces) of[piece.parameter] = piece;
  for (size_t i = 0; i < parameters.size(); ++i) {
    Tensor& master = parameters[i]->master;
    if (!master.defined()) continue;
    if (!parameters[i]->has_all_weights()) {
      GRADUS_CHECK(master.numel() == of[i].size());
      continue;
    }
    if (is_whole(of[i], master)) continue;
    Tensor own = Tensor::empty({of[i].size()}, master.dtype());
    if (own.numel() > 0) own.copy_from(piece_of(master, of[i]));
    master = own;
  }
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
  }
}

void AdamW::make_moments() {
  if (!m_.empty()) return;
  for (const Piece& piece : pieces_) {
    const autograd::Parameter& p = *parameters_[piece.parameter];
    const DType dtype = kernels::computed_in(p.weights_dtype());
    const Shape shape = is_whole(piece, p.value) ? p.value.shape() : Shape{piece.size()};
    m_.push_back(Tensor::zeros(shape, dtype));
    v_.push_back(Tensor::zeros(shape, dtype));
  }
}

std::vector<Tensor>& AdamW::first_moments() {
  make_moments();
  return m_;
}

std::vector<Tensor>& AdamW::second_moments() {
  make_moments();
  return v_;
}

void AdamW::step(double learning_rate, double grad_scale, std::span<const Tensor> gradients) {
  make_moments();
  ++steps_;
  const auto t = static_cast<double>(steps_);
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    autograd::Parameter& p = *parameters_[piece.parameter];
    Tensor value = piece_of(p.value, piece);
    Tensor weights = weights_of(p, piece);
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
    p.packed = {};
    if (p.master.defined()) kernels::convert(weights, value);
  }
}

void AdamW::reset(uint64_t problem) {
  for (Tensor& m : m_) m.fill_zero();
  for (Tensor& v : v_) v.fill_zero();
  steps_ = 0;
  problem_ = problem;
}

}  // namespace gradus::optim
