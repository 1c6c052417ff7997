// Gradients in a few arrays, the buckets, which are added up over ranks one by one, each cut into a slice per rank. The
// order is fixed by the list of parameters alone: buckets go from the last parameter to the first, as the backward pass
// completes them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/autograd/tape.h"
#include "gradus/optim/adamw.h"

namespace gradus::optim {

class GradientBuckets {
 public:
  // The parameters' gradients become views of the buckets' arrays, in the format that their sums are computed in.
  //   bucket_elements  a bucket ends with the parameter that brings it to so many
  //   n_slices         of each bucket
  // A slice begins at the first element of a parameter or a multiple of kernels::kSumChunk elements behind it, so that
  // the sums of squares of chunks are each of one slice.
  GradientBuckets(std::span<autograd::Parameter* const> parameters, int64_t bucket_elements, int n_slices);

  size_t size() const { return buckets_.size(); }
  size_t bucket_of(size_t parameter) const { return bucket_of_[parameter]; }
  size_t parameters_in(size_t bucket) const { return buckets_[bucket].last - buckets_[bucket].first; }

  // The gradients of a bucket, with the gaps between parameters, which are zeros, and where its slices begin.
  const Tensor& gradients(size_t bucket) const { return buckets_[bucket].array; }
  std::span<const int64_t> bounds(size_t bucket) const { return buckets_[bucket].bounds; }

  // Gives the array of a bucket back, whose gradients are then undefined; and makes them again, as zeros.
  void release(size_t bucket);
  void acquire(size_t bucket);

  // What slice k of all buckets holds, in the parameters' order.
  std::vector<Piece> pieces_of(int slice) const;

  // The part of `array`, slice k of the piece's bucket, that is the piece; [piece.size()].
  Tensor in_slice(int slice, const Piece& piece, const Tensor& array) const;

  // Tensors with the shapes of the parameters (weights, moments), each of any dtype, as the bytes of their pieces one
  // behind the other: where the slices begin, [n_slices + 1], and copies to and from an array of them, of slice k alone
  // or of all slices but k.
  std::vector<int64_t> byte_bounds(size_t bucket, std::span<const Tensor> tensors) const;
  void pack(size_t bucket, int slice, std::span<const Tensor> tensors, Tensor& bytes) const;
  void unpack_others(size_t bucket, int slice, const Tensor& bytes, std::span<Tensor> tensors) const;

 private:
  struct Bucket {
    size_t first = 0, last = 0;   // its parameters
    int64_t size = 0;             // elements, gaps included
    std::vector<int64_t> bounds;  // [n_slices + 1], from 0
    Tensor array;
  };
  template <class Visit>
  void for_pieces(size_t bucket, int slice, Visit&& visit) const;

  std::vector<autograd::Parameter*> parameters_;
  std::vector<int64_t> offsets_;  // of each parameter in its bucket
  std::vector<Bucket> buckets_;   // from the last parameter to the first
  std::vector<size_t> bucket_of_;
  DType dtype_;
};

}  // namespace gradus::optim
