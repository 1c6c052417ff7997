#include "gradus/run/gradient_exchange.h"

#include <cmath>

#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"

namespace gradus::run {

namespace {

constexpr double kBytesPerMb = 1 << 20;

int64_t bucket_elements(const Ranks& ranks, const optim::AdamW& optimiser) {
  const auto size = static_cast<double>(size_of(kernels::computed_in(optimiser.parameters().front()->value.dtype())));
  return std::max<int64_t>(1, static_cast<int64_t>(ranks.config().bucket_mb * kBytesPerMb / size));
}

}  // namespace

GradientExchange::GradientExchange(optim::AdamW& optimiser, Ranks& ranks, const GradientExchangeConfig& config)
    : optimiser_(optimiser),
      ranks_(ranks),
      config_(config),
      buckets_(optimiser.parameters(), bucket_elements(ranks, optimiser), ranks.size()),
      tree_(optimiser.parameters()),
      is_complete_(optimiser.parameters().size()),
      missing_(buckets_.size()),
      slices_(buckets_.size()),
      wire_(buckets_.size()) {
  for (size_t i = 0; i < optimiser.parameters().size(); ++i) index_[optimiser.parameters()[i]] = i;
  if (cut()) optimiser_.take_pieces(buckets_.pieces_of(ranks_.rank()));
  if (cut_masters()) {
    optim::cut_masters(optimiser_.parameters(), optimiser_.pieces());
    trim_tensor_storage();  // or the whole ones would be kept for tensors of their size
  }
  if (ranks_.config().zero == 2) hooks_.before = [this](autograd::Parameter& p) { prepare(p); };
  last_hooks_ = hooks_;
  last_hooks_.complete = [this](autograd::Parameter& p) {
    const auto found = index_.find(&p);
    if (found != index_.end()) complete(found->second);
  };
}

GradientExchange::~GradientExchange() {
  if (!backward_goes_on_ || next_ == 0) return;  // nothing is under way
  ranks_.abort(Error(ErrorCode::peer_lost, fmt::format("rank {} left a step of training", ranks_.rank())));
  try {
    ranks_.wait();
  } catch (const std::exception&) {  // what was under way has ended, and nobody asks how
  }
}

void GradientExchange::begin() {
  tree_.reset();
  for (size_t b = 0; b < buckets_.size(); ++b) {
    missing_[b] = buckets_.parameters_in(b);
    if (buckets_.gradients(b).defined()) Tensor(buckets_.gradients(b)).fill_zero();
  }
  is_complete_.assign(is_complete_.size(), false);
  next_ = 0;
  backward_goes_on_ = true;
}

void GradientExchange::prepare(autograd::Parameter& p) {
  const auto found = index_.find(&p);
  if (found != index_.end() && !p.grad.defined()) buckets_.acquire(buckets_.bucket_of(found->second));
}

void GradientExchange::add_shard() {
  for (size_t b = 0; b < buckets_.size(); ++b) {
    if (!buckets_.gradients(b).defined()) buckets_.acquire(b);  // a shard without sequences
  }
  tree_.add();
}

void GradientExchange::complete(size_t parameter) {
  if (is_complete_[parameter]) return;
  is_complete_[parameter] = true;
  const size_t bucket = buckets_.bucket_of(parameter);
  if (!buckets_.gradients(bucket).defined()) buckets_.acquire(bucket);
  tree_.finish(parameter);
  --missing_[bucket];
  // In one order on all ranks.
  for (; next_ < buckets_.size() && missing_[next_] == 0; ++next_) post(next_);
}

void GradientExchange::post(size_t bucket) {
  if (!backward_goes_on_) return reduce(ranks_.group(), bucket);  // after those that were posted
  ranks_.post([this, bucket](comm::Group& group) { reduce(group, bucket); });
}

void GradientExchange::reduce(comm::Group& group, size_t bucket) {
  Tensor sum = buckets_.gradients(bucket);
  Tensor& moved = ranks_.config().wire == "bf16" && group.size() > 1 ? wire_[bucket] : sum;
  if (&moved != &sum) {
    if (!moved.defined()) moved = Tensor::empty(sum.shape(), DType::bf16);
    kernels::convert(sum, moved);
  }
  if (cut()) {
    group.reduce_scatter(moved, comm::ReduceOp::sum, buckets_.bounds(bucket));
  } else {
    group.all_reduce(moved);
  }
  if (&moved != &sum) kernels::convert(moved, sum);
  if (ranks_.config().zero == 2) keep_slice(bucket);
}

void GradientExchange::keep_slice(size_t bucket) {
  const auto r = static_cast<size_t>(ranks_.rank());
  const std::span<const int64_t> bounds = buckets_.bounds(bucket);
  const Tensor mine = buckets_.gradients(bucket).rows(bounds[r], bounds[r + 1]);
  if (!slices_[bucket].defined()) slices_[bucket] = Tensor::empty(mine.shape(), mine.dtype());
  slices_[bucket].copy_from(mine);
  buckets_.release(bucket);
}

void GradientExchange::finish() {
  backward_goes_on_ = false;
  for (size_t i = is_complete_.size(); i-- > 0;) complete(i);
  ranks_.wait();
  if (!cut()) return;
  piece_gradients_.clear();
  for (size_t i = 0; i < optimiser_.pieces().size(); ++i) piece_gradients_.push_back(gradient_of(i));
}

Tensor GradientExchange::gradient_of(size_t i) const {
  const optim::Piece& piece = optimiser_.pieces()[i];
  const autograd::Parameter& p = *optimiser_.parameters()[piece.parameter];
  if (p.grad.defined()) return optim::piece_of(p.grad, piece);
  const Tensor part = buckets_.in_slice(ranks_.rank(), piece, slices_[buckets_.bucket_of(piece.parameter)]);
  return piece.size() == p.value.numel() ? part.view(p.value.shape()) : part;
}

double GradientExchange::norm() {
  if (!cut()) return optim::global_gradient_norm(optimiser_.parameters());
  // The chunks' sums of all ranks, added in the order of an uncut gradient.
  std::vector<size_t> first_chunk{0};
  for (const autograd::Parameter* p : optimiser_.parameters()) {
    first_chunk.push_back(first_chunk.back() +
                          static_cast<size_t>((p->value.numel() + kernels::kSumChunk - 1) / kernels::kSumChunk));
  }
  std::vector<double> chunks(first_chunk.back(), 0.0);
  for (size_t i = 0; i < optimiser_.pieces().size(); ++i) {
    const optim::Piece& piece = optimiser_.pieces()[i];
    const size_t begin = first_chunk[piece.parameter] + static_cast<size_t>(piece.begin / kernels::kSumChunk);
    const auto n = static_cast<size_t>((piece.size() + kernels::kSumChunk - 1) / kernels::kSumChunk);
    kernels::sum_of_squares(piece_gradients_[i], std::span(chunks).subspan(begin, n));
  }
  ranks_.merge(chunks);
  double total = 0;
  for (size_t p = 0; p + 1 < first_chunk.size(); ++p) {
    double sum = 0;
    for (size_t c = first_chunk[p]; c < first_chunk[p + 1]; ++c) sum += chunks[c];
    total += sum;
  }
  return std::sqrt(total);
}

double GradientExchange::small_share(DType format) {
  if (!cut()) return optim::small_gradient_share(optimiser_.parameters(), format);
  double counts[2] = {0, 0};  // small, all
  for (const Tensor& g : piece_gradients_) {
    counts[0] += static_cast<double>(kernels::count_below(g, float_format(format).least_normal()));
    counts[1] += static_cast<double>(g.numel());
  }
  ranks_.merge(counts);
  return counts[1] == 0 ? 0.0 : counts[0] / counts[1];
}

void GradientExchange::update(double learning_rate, double grad_scale) {
  if (!cut()) return optimiser_.step(learning_rate, grad_scale);
  optimiser_.step(learning_rate, grad_scale, piece_gradients_);
  std::vector<Tensor> weights;
  for (autograd::Parameter* p : optimiser_.parameters()) weights.push_back(cut_masters() ? p->value : p->weights());
  all_gather(weights);
  for (autograd::Parameter* p : optimiser_.parameters()) p->changed();
}

// Every rank's pieces of tensors with the parameters' shapes become everybody's.
void GradientExchange::all_gather(std::vector<Tensor>& tensors) {
  comm::Group& group = ranks_.group();
  if (group.size() == 1) return;
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const std::vector<int64_t> bounds = buckets_.byte_bounds(b, tensors);
    Tensor bytes = Tensor::empty({bounds.back()}, DType::u8);
    buckets_.pack(b, ranks_.rank(), tensors, bytes);
    group.all_gather(bytes, bounds);
    buckets_.unpack_others(b, ranks_.rank(), bytes, tensors);
  }
}

std::vector<Tensor> GradientExchange::whole(std::span<const Tensor> moments) {
  if (!cut()) return {moments.begin(), moments.end()};
  std::vector<Tensor> tensors;
  for (const autograd::Parameter* p : optimiser_.parameters()) {
    tensors.push_back(Tensor::zeros(p->value.shape(), kernels::computed_in(p->weights_dtype())));
  }
  for (size_t i = 0; i < moments.size(); ++i) {
    const optim::Piece& piece = optimiser_.pieces()[i];
    optim::piece_of(tensors[piece.parameter], piece).copy_from(moments[i]);
  }
  all_gather(tensors);
  return tensors;
}

int64_t GradientExchange::optimiser_bytes() const {
  size_t bytes = 0;
  for (const Tensor& m : optimiser_.first_moments()) bytes += 2 * m.bytes();
  for (const autograd::Parameter* p : optimiser_.parameters()) {
    if (p->master.defined()) bytes += p->master.bytes();
  }
  return static_cast<int64_t>(bytes);
}

void GradientExchange::take_moments(std::span<const Tensor> first, std::span<const Tensor> second) {
  for (size_t i = 0; i < optimiser_.pieces().size(); ++i) {
    const optim::Piece& piece = optimiser_.pieces()[i];
    optimiser_.first_moments()[i].copy_from(optim::piece_of(first[piece.parameter], piece));
    optimiser_.second_moments()[i].copy_from(optim::piece_of(second[piece.parameter], piece));
  }
}

}  // namespace gradus::run
