// The differentiable operators: a small closed set, each a forward and a backward kernel (gradus/kernels has the
// equations). All take and give row-major [rows, columns] values of the matrices' dtype (f64, f32, bf16, f16); sums,
// gains, biases, log-probabilities and losses are f32 beside the 16-bit ones (docs/numerics.md has the table). Spans
// and layouts handed in must outlive the tape's next reset. Shape errors are thrown by the kernels as invalid_argument.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "gradus/autograd/tape.h"
#include "gradus/kernels/attention.h"
#include "gradus/kernels/rope.h"

namespace gradus::autograd {

// table.value[ids[r]] -> [rows, C].
Var embedding(Tape& tape, std::span<const int32_t> ids, Parameter& table);

// kernels::rms_norm of each C columns on their own.   x [rows, C] or [rows, heads * C], gain.value [C].
Var rms_norm(Var x, Parameter& gain, double eps);

// y = x W^T + b.   x [rows, in], weight.value [out, in], bias [out] or nullptr.
// With a LowRank A, B: y = round(round(x W^T + b) + scale * round(round(x A^T) B^T)), where `round` is to the matrices'
// format, which A and B have, and the product with `scale` is not rounded. In the gradients d_y B is rounded, then its
// product with scale; what flows into x through W is rounded, then its sum with what flows through A.
Var linear(Var x, Parameter& weight, Parameter* bias = nullptr);

// Several of them from one x; few rows go through all of them at once (kernels::linear).
struct LinearWeights {
  Parameter& weight;
  Parameter* bias = nullptr;
};
std::array<Var, 2> linear(Var x, const std::array<LinearWeights, 2>& weights);
std::array<Var, 3> linear(Var x, const std::array<LinearWeights, 3>& weights);

// kernels::rope, out of place.   x [rows, heads * D].
Var rope(Var x, std::span<const int32_t> positions, int64_t heads, const kernels::RopeTable& table);

// kernels::attention_forward over q [rows, H * D], k and v [rows, G * D].
//   cache == nullptr: the sequences are whole (training); keys and values go through pages of their own, made for this
//   call:
//                     layout.block_table must number n_pages pages.
//   cache != nullptr: rows are appended to the cache's pages first; inference only.
//   key_rows, for whole sequences that share a prefix: the keys that layout.key_offsets cuts into sequences are these
//                     rows of k and v; what flows back into a row is added over the sequences that see it, ascending.
Var attention(Var q, Var k, Var v, const kernels::AttentionLayout& layout, const kernels::AttentionShape& shape,
              int64_t n_pages, kernels::KeyValuePages* cache, std::span<const int32_t> key_rows = {});

// silu(gate) * up.
Var swiglu(Var gate, Var up);

// x * sigmoid(x): swiglu beside ones.
Var silu(Var x);

// kernels::relu, kernels::tanh.
Var relu(Var x);
Var tanh(Var x);

Var add(Var a, Var b);

// The output head in one operator: log p(ids[i] | row rows[i]) -> [n] where the logits are x W^T and p = softmax(logits
// / temperature). Logits exist for kHeadRows rows at a time and are recomputed in the backward.
//   x [rows, C], weight.value [n_vocab, C], rows and ids of equal length n; temperature > 0
inline constexpr int64_t kHeadRows = 1024;
Var token_log_probs(Var x, Parameter& weight, std::span<const int32_t> rows, std::span<const int32_t> ids,
                    double temperature);

// KL(p_i || q_i) of the rows rows[i] -> [n]: q = softmax(x W^T), and p, which is constant, a teacher's
// softmax(teacher_x W_teacher^T) of the same rows. Logits as in token_log_probs.
//   x, teacher_x [rows, C] (their C may differ); weights [n_vocab, C]; teacher_weight outlives the tape's backward
Var divergence(Var x, Parameter& weight, std::span<const int32_t> rows, Tensor teacher_x,
               const Parameter& teacher_weight);

// sum_i weights[i] * x[i] -> [1], added in double, f32 or f64.   x [n] of any shape; weights are constants.
Var weighted_sum(Var x, std::span<const double> weights);

}  // namespace gradus::autograd
