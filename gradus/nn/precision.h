// In which formats a model computes and trains: mixed precision (Micikevicius et al. 2018, "Mixed Precision Training",
// arXiv 1710.03740, sections 3.1 to 3.3). What each operator does with them is the table in docs/numerics.md.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "gradus/core/dtype.h"

namespace gradus::nn {

enum class Precision { fp64, fp32, bf16, fp16, bf16_pure };

// Formats of a run in one precision. Matrices are what products multiply; vectors (gains, biases) are few and stay in
// `vectors`, which is also the format of every sum, statistic, logit and loss.
struct PrecisionFormats {
  Precision precision;
  std::string_view name;  // "bf16-pure"
  DType matrices;         // the copies that forward and backward read; activations and their gradients too
  DType vectors;          // and moments, and the gradients of vectors
  DType gradients;        // of matrices
  bool master;            // the optimiser updates a copy in `vectors`, which `matrices` follow
  std::string_view about;
};

inline constexpr std::array<PrecisionFormats, 5> kPrecisions = {{
    {Precision::fp64, "fp64", DType::f64, DType::f64, DType::f64, false, "all in f64, on the scalar references: slow"},
    {Precision::fp32, "fp32", DType::f32, DType::f32, DType::f32, false, "all in f32"},
    {Precision::bf16, "bf16", DType::bf16, DType::f32, DType::f32, true,
     "bf16 products and activations, f32 master weights"},
    {Precision::fp16, "fp16", DType::f16, DType::f32, DType::f32, true,
     "f16 activations, loss scaling, f32 master weights"},
    {Precision::bf16_pure, "bf16-pure", DType::bf16, DType::f32, DType::bf16, false,
     "bf16 weights and gradients, rounded stochastically; 12 bytes a parameter"},
}};

// What an operator reads, computes in, and gives in a 16-bit precision: the one list of what stays in f32. (In fp32 and
// fp64 all is in that format.) docs/numerics.md shows it; a test compares the two.
struct OperatorFormats {
  std::string_view name, reads, computes, gives;
};

inline constexpr OperatorFormats kOperatorFormats[] = {
    {"embedding", "16 bits", "a copy", "16 bits"},
    {"embedding, gradient of the table", "16 bits", "f32", "f32"},
    {"matrix product", "16 bits", "f32 sums", "16 bits, rounded once"},
    {"matrix product, gradient of its input", "16 bits", "f32 sums", "16 bits, rounded once"},
    {"matrix product, gradient of its weights", "16 bits", "f32 sums", "f32; bf16-pure: bf16, rounded when added"},
    {"bias and its gradient", "16 bits, bias f32", "f32", "16 bits; gradient f32"},
    {"norm, its statistics and the gradient of its gain", "16 bits, gain f32", "f32",
     "16 bits; statistics and gradient f32"},
    {"rotation (rope)", "16 bits; backward f32 from attention", "f32", "16 bits"},
    {"attention: scores, softmax, sums", "16 bits", "f32; bf16 weights are rounded for products",
     "16 bits; log-sum-exp f32"},
    {"attention, gradients", "16 bits", "f32 sums", "f32"},
    {"SwiGLU", "16 bits", "f32", "16 bits"},
    {"ReLU, tanh", "16 bits", "f32", "16 bits"},
    {"residual sum", "16 bits", "f32", "16 bits"},
    {"logits", "16 bits", "f32 sums", "f32"},
    {"softmax, log-softmax, sampling, losses", "f32", "f32", "f32"},
    {"gradient of the logits", "f32", "f32", "16 bits, rounded once"},
    {"gradient norm, clipping, unscaling", "as stored", "f64 sums, f32 products", "f32"},
    {"AdamW: moments and weights", "f32; bf16-pure: bf16 weights and gradients", "f32",
     "f32 master, rounded to 16 bits; bf16-pure: rounded stochastically"},
};

constexpr const PrecisionFormats& formats(Precision precision) {
  return kPrecisions[static_cast<size_t>(precision)];
}
constexpr std::string_view name(Precision precision) {
  return formats(precision).name;
}
// Throws invalid_argument, naming the nearest.
Precision precision_from_name(std::string_view name);

}  // namespace gradus::nn
