#include "gradus/optim/gradient_buckets.h"

#include <algorithm>
#include <cstring>

#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"

namespace gradus::optim {

namespace {

constexpr int64_t kAlignment = 16;  // elements between the beginnings of gradients: a cache line of floats

int64_t aligned(int64_t n) {
  return (n + kAlignment - 1) / kAlignment * kAlignment;
}

// Slices end at the place for a cut that is nearest to an even share.
std::vector<int64_t> bounds_at(const std::vector<int64_t>& cuts, int64_t size, int n_slices) {
  std::vector<int64_t> bounds{0};
  for (int k = 1; k < n_slices; ++k) {
    const int64_t share = size * k / n_slices;
    const auto next = std::ranges::lower_bound(cuts, share);
    const int64_t above = next == cuts.end() ? size : *next;
    const int64_t below = next == cuts.begin() ? 0 : *std::prev(next);
    bounds.push_back(above - share < share - below ? above : below);
  }
  bounds.push_back(size);
  return bounds;
}

}  // namespace

GradientBuckets::GradientBuckets(std::span<autograd::Parameter* const> parameters, int64_t bucket_elements,
                                 int n_slices)
    : parameters_(parameters.begin(), parameters.end()),
      offsets_(parameters.size()),
      bucket_of_(parameters.size()),
      dtype_(kernels::computed_in(parameters.front()->value.dtype())) {
  GRADUS_CHECK(bucket_elements >= 1 && n_slices >= 1);
  for (size_t last = parameters_.size(); last > 0;) {
    size_t first = last;
    int64_t size = 0;
    while (first > 0 && size < bucket_elements) {
      GRADUS_CHECK(kernels::computed_in(parameters_[first - 1]->value.dtype()) == dtype_);
      size += aligned(parameters_[--first]->value.numel());
    }
    Bucket bucket{.first = first, .last = last, .size = size, .bounds = {}, .array = {}};
    std::vector<int64_t> cuts;
    int64_t offset = 0;
    for (size_t i = first; i < last; ++i) {
      bucket_of_[i] = buckets_.size();
      offsets_[i] = offset;
      for (int64_t c = 0; c < parameters_[i]->value.numel(); c += kernels::kSumChunk) cuts.push_back(offset + c);
      offset += aligned(parameters_[i]->value.numel());
    }
    bucket.bounds = bounds_at(cuts, size, n_slices);
    buckets_.push_back(std::move(bucket));
    acquire(buckets_.size() - 1);
    last = first;
  }
}

void GradientBuckets::release(size_t bucket) {
  Bucket& b = buckets_[bucket];
  for (size_t i = b.first; i < b.last; ++i) parameters_[i]->grad = {};
  b.array = {};
}

void GradientBuckets::acquire(size_t bucket) {
  Bucket& b = buckets_[bucket];
  b.array = Tensor::zeros({b.size}, dtype_);
  for (size_t i = b.first; i < b.last; ++i) {
    const Shape shape = parameters_[i]->value.shape();
    parameters_[i]->grad = b.array.rows(offsets_[i], offsets_[i] + shape.numel()).view(shape);
  }
}

// visit(piece) for those of a slice.
template <class Visit>
void GradientBuckets::for_pieces(size_t bucket, int slice, Visit&& visit) const {
  const auto k = static_cast<size_t>(slice);
  const int64_t begin = buckets_[bucket].bounds[k], end = buckets_[bucket].bounds[k + 1];
  for (size_t i = buckets_[bucket].first; i < buckets_[bucket].last; ++i) {
    const Piece piece{i, std::max<int64_t>(0, begin - offsets_[i]),
                      std::min(parameters_[i]->value.numel(), end - offsets_[i])};
    if (piece.begin < piece.end) visit(piece);
  }
}

std::vector<Piece> GradientBuckets::pieces_of(int slice) const {
  std::vector<Piece> pieces;
  for (size_t b = buckets_.size(); b-- > 0;) {
    for_pieces(b, slice, [&](const Piece& p) { pieces.push_back(p); });
  }
  return pieces;
}

Tensor GradientBuckets::in_slice(int slice, const Piece& piece, const Tensor& array) const {
  const int64_t begin = buckets_[bucket_of_[piece.parameter]].bounds[static_cast<size_t>(slice)];
  const int64_t at = offsets_[piece.parameter] + piece.begin - begin;
  return array.rows(at, at + piece.size());
}

std::vector<int64_t> GradientBuckets::byte_bounds(size_t bucket, std::span<const Tensor> tensors) const {
  std::vector<int64_t> bounds{0};
  for (size_t k = 0; k + 1 < buckets_[bucket].bounds.size(); ++k) {
    int64_t bytes = 0;
    for_pieces(bucket, static_cast<int>(k),
               [&](const Piece& p) { bytes += static_cast<int64_t>(piece_of(tensors[p.parameter], p).bytes()); });
    bounds.push_back(bounds.back() + bytes);
  }
  return bounds;
}

void GradientBuckets::pack(size_t bucket, int slice, std::span<const Tensor> tensors, Tensor& bytes) const {
  auto* to = static_cast<std::byte*>(bytes.raw()) + byte_bounds(bucket, tensors)[static_cast<size_t>(slice)];
  for_pieces(bucket, slice, [&](const Piece& p) {
    const Tensor part = piece_of(tensors[p.parameter], p);
    std::memcpy(to, part.raw(), part.bytes());
    to += part.bytes();
  });
}

void GradientBuckets::unpack_others(size_t bucket, int slice, const Tensor& bytes, std::span<Tensor> tensors) const {
  const std::vector<int64_t> bounds = byte_bounds(bucket, tensors);
  for (int k = 0; k + 1 < static_cast<int>(bounds.size()); ++k) {
    if (k == slice) continue;
    const auto* from = static_cast<const std::byte*>(bytes.raw()) + bounds[static_cast<size_t>(k)];
    for_pieces(bucket, k, [&](const Piece& p) {
      Tensor part = piece_of(tensors[p.parameter], p);
      std::memcpy(part.raw(), from, part.bytes());
      from += part.bytes();
    });
  }
}

}  // namespace gradus::optim
