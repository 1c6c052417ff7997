#include "gradus/autograd/ops.h"

#include <algorithm>
#include <vector>

#include "gradus/core/thread_pool.h"
#include "gradus/kernels/activation.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/divergence.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/embedding.h"
#include "gradus/kernels/norm.h"
#include "gradus/kernels/softmax.h"

namespace gradus::autograd {

namespace {

Tensor like(const Tensor& t) {
  return Tensor::empty(t.shape(), t.dtype());
}
// Like `t`, in the format that its sums have.
Tensor wide_like(const Tensor& t) {
  return Tensor::empty(t.shape(), kernels::computed_in(t.dtype()));
}

// The node recorded last adds to p.grad, unless p is frozen.
void note_gradient(Tape& tape, Parameter& p) {
  if (!p.frozen) tape.note_gradient(p);
}

}  // namespace

Var embedding(Tape& tape, std::span<const int32_t> ids, Parameter& table) {
  struct Backward final : Node {
    std::span<const int32_t> ids;
    Parameter& table;
    Var y;
    Backward(std::span<const int32_t> i, Parameter& t, Var out) : ids(i), table(t), y(out) {}
    void backward(Tape& tape) override {
      const Tensor d_y = tape.take_grad(y);
      if (!d_y.defined()) return;
      Tensor sum = kernels::converted(table.grad, kernels::computed_in(d_y.dtype()));
      kernels::embedding_backward(ids, d_y, sum);
      if (sum.dtype() != table.grad.dtype()) kernels::convert(sum, table.grad);
    }
  };
  Tensor y = Tensor::empty({static_cast<int64_t>(ids.size()), table.value.dim(1)}, table.value.dtype());
  kernels::embedding(ids, table.value, y);
  const Var out = tape.emit(std::move(y), !table.frozen);
  if (tape.needs_grad(out)) {
    tape.record<Backward>(ids, table, out);
    tape.note_gradient(table);
  }
  return out;
}

namespace {

// x [rows, heads * C] as the rows that a gain of C numbers normalises: its heads.
Tensor as_heads(const Tensor& x, const Parameter& gain) {
  const int64_t c = gain.value.dim(0);
  require(x.rank() == 2 && c > 0 && x.dim(1) % c == 0, "rms_norm: x is {}, but the gain has {} numbers", x.shape(), c);
  return x.view({x.dim(0) * (x.dim(1) / c), c});
}

}  // namespace

Var rms_norm(Var x, Parameter& gain, double eps) {
  struct Backward final : Node {
    Var x;
    Parameter& gain;
    Tensor inv_rms;
    Var y;
    Backward(Var in, Parameter& g, Tensor r, Var out) : x(in), gain(g), inv_rms(std::move(r)), y(out) {}
    void backward(Tape& tape) override {
      const Tensor d_y = tape.take_grad(y);
      if (!d_y.defined()) return;
      Tensor d_x = like(d_y), d_heads = as_heads(d_x, gain);
      Tensor unused = gain.frozen ? Tensor::zeros(gain.value.shape(), gain.value.dtype()) : Tensor{};
      kernels::rms_norm_backward(as_heads(x.value(), gain), gain.value, inv_rms, as_heads(d_y, gain), d_heads,
                                 gain.frozen ? unused : gain.grad);
      d_heads = {};  // so that d_x is the only one
      tape.accumulate(x, std::move(d_x));
    }
  };
  Tape& tape = *x.tape;
  const Tensor rows = as_heads(x.value(), gain);
  Tensor y = like(x.value()), y_rows = as_heads(y, gain);
  Tensor inv_rms = Tensor::empty({rows.dim(0)}, kernels::computed_in(rows.dtype()));
  kernels::rms_norm(rows, gain.value, eps, y_rows, inv_rms);
  y_rows = {};
  const Var out = tape.emit(std::move(y), tape.needs_grad(x) || !gain.frozen);
  if (tape.needs_grad(out)) {
    tape.record<Backward>(x, gain, std::move(inv_rms), out);
    note_gradient(tape, gain);
  }
  return out;
}

namespace {

Tensor linear_result(Var x, const Parameter& weight) {
  return Tensor::empty({x.value().dim(0), weight.value.dim(0)}, weight.value.dtype());
}

Var emit_linear(Var x, Parameter& weight, Parameter* bias, Tensor y) {
  struct Backward final : Node {
    Var x;
    Parameter& weight;
    Parameter* bias;
    Tensor h;  // x A^T
    Var y;
    Backward(Var in, Parameter& w, Parameter* b, Tensor low, Var out)
        : x(in), weight(w), bias(b), h(std::move(low)), y(out) {}
    void backward(Tape& tape) override {
      const Tensor d_y = tape.take_grad(y);
      if (!d_y.defined()) return;
      if (!weight.frozen) {
        kernels::gemm(d_y, x.value(), weight.grad, {.transpose_a = true, .accumulate = true});  // dW += dY^T X
      }
      if (bias != nullptr && !bias->frozen) kernels::bias_backward(d_y, bias->grad);
      Tensor d_x;
      if (tape.needs_grad(x)) {
        d_x = like(x.value());
        kernels::gemm(d_y, weight.value, d_x);  // dX = dY W
      }
      if (h.defined()) low_rank_backward(d_y, d_x);
      if (d_x.defined()) tape.accumulate(x, std::move(d_x));
    }
    void low_rank_backward(const Tensor& d_y, Tensor& d_x) {
      const auto& [a, b, scale] = weight.low_rank;
      Tensor d_h = like(h);
      kernels::gemm(d_y, b->value, d_h);
      kernels::scale_in_place(d_h, scale);  // dH = scale dY B
      kernels::scale_in_place(h, scale);
      kernels::gemm(d_y, h, b->grad, {.transpose_a = true, .accumulate = true});          // dB += dY^T (scale H)
      kernels::gemm(d_h, x.value(), a->grad, {.transpose_a = true, .accumulate = true});  // dA += dH^T X
      if (d_x.defined()) kernels::gemm(d_h, a->value, d_x, {.accumulate = true});         // dX += dH A
    }
  };
  Tape& tape = *x.tape;
  const LowRank& low = weight.low_rank;
  Tensor h;
  if (low.a != nullptr) {
    h = Tensor::empty({x.value().dim(0), low.a->value.dim(0)}, y.dtype());
    Tensor u = like(y);
    kernels::gemm(x.value(), low.a->value, h, {.transpose_b = true});
    kernels::gemm(h, low.b->value, u, {.transpose_b = true});
    kernels::axpy(low.scale, u, y);
  }
  const bool learns = !weight.frozen || (bias != nullptr && !bias->frozen) || low.a != nullptr;
  const Var out = tape.emit(std::move(y), tape.needs_grad(x) || learns);
  if (tape.needs_grad(out)) {
    tape.record<Backward>(x, weight, bias, std::move(h), out);
    note_gradient(tape, weight);
    if (bias != nullptr) note_gradient(tape, *bias);
    if (low.a != nullptr) {
      tape.note_gradient(*low.a);
      tape.note_gradient(*low.b);
    }
  }
  return out;
}

template <size_t N>
std::array<Var, N> linear_of_all(Var x, const std::array<LinearWeights, N>& weights) {
  std::array<Tensor, N> y;
  for (size_t i = 0; i < N; ++i) y[i] = linear_result(x, weights[i].weight);
  const auto maps = [&]<size_t... I>(std::index_sequence<I...>) {
    return std::array{kernels::LinearMap{.weight = weights[I].weight.value,
                                         .bias = weights[I].bias == nullptr ? nullptr : &weights[I].bias->value,
                                         .y = y[I]}...};
  }
  (std::make_index_sequence<N>());
  kernels::linear(x.value(), maps);
  std::array<Var, N> out;
  for (size_t i = 0; i < N; ++i) out[i] = emit_linear(x, weights[i].weight, weights[i].bias, std::move(y[i]));
  return out;
}

}  // namespace

Var linear(Var x, Parameter& weight, Parameter* bias) {
  Tensor y = linear_result(x, weight);
  if (bias != nullptr) {
    kernels::linear(x.value(), weight.value, bias->value, y);
  } else {
    kernels::gemm(x.value(), weight.value, y, {.transpose_b = true});
  }
  return emit_linear(x, weight, bias, std::move(y));
}

std::array<Var, 2> linear(Var x, const std::array<LinearWeights, 2>& weights) {
  return linear_of_all(x, weights);
}
std::array<Var, 3> linear(Var x, const std::array<LinearWeights, 3>& weights) {
  return linear_of_all(x, weights);
}

Var rope(Var x, std::span<const int32_t> positions, int64_t heads, const kernels::RopeTable& table) {
  struct Backward final : Node {
    Var x;
    std::span<const int32_t> positions;
    int64_t heads;
    const kernels::RopeTable& table;
    Var y;
    Backward(Var in, std::span<const int32_t> p, int64_t h, const kernels::RopeTable& t, Var out)
        : x(in), positions(p), heads(h), table(t), y(out) {}
    void backward(Tape& tape) override {
      Tensor d = tape.take_wide_grad(y);
      if (!d.defined()) return;
      if (!d.is_unique()) d = d.clone();
      kernels::rope_backward(d, positions, heads, table);
      tape.accumulate(x, kernels::converted(d, x.value().dtype()));
    }
  };
  Tape& tape = *x.tape;
  Tensor y = x.value().clone();
  kernels::rope(y, positions, heads, table);
  const Var out = tape.emit(std::move(y), tape.needs_grad(x));
  if (tape.recording()) tape.record<Backward>(x, positions, heads, table, out);
  return out;
}

namespace {

// x[rows[begin..end)] as a dense matrix.
Tensor gather_rows(const Tensor& x, std::span<const int32_t> rows) {
  Tensor out = Tensor::empty({static_cast<int64_t>(rows.size()), x.dim(1)}, x.dtype());
  kernels::embedding(rows, x, out);
  return out;
}

// Keys and values of whole sequences: the rows of k and v themselves, or those that `rows` names.
Tensor keys_of(const Tensor& x, std::span<const int32_t> rows) {
  return rows.empty() ? x : gather_rows(x, rows);
}

// Puts every key of `layout` into its page; with key_offsets a sequence's keys stand at positions 0, 1, 2, ...
void store_keys(const Tensor& k, const Tensor& v, const kernels::AttentionLayout& layout,
                const kernels::AttentionShape& shape, kernels::KeyValuePages& pages) {
  if (layout.key_offsets.empty()) return kernels::store_keys_values(k, v, layout, shape, pages);
  thread_local std::vector<int32_t> positions;
  positions.clear();
  for (int64_t s = 0; s < layout.n_sequences(); ++s) {
    for (int32_t p = 0; p < layout.n_keys(s); ++p) positions.push_back(p);
  }
  const kernels::AttentionLayout keys{.row_offsets = layout.key_offsets,
                                      .key_positions = positions,
                                      .block_table = layout.block_table,
                                      .max_blocks = layout.max_blocks};
  kernels::store_keys_values(k, v, keys, shape, pages);
}

}  // namespace

Var attention(Var q, Var k, Var v, const kernels::AttentionLayout& layout, const kernels::AttentionShape& shape,
              int64_t n_pages, kernels::KeyValuePages* cache, std::span<const int32_t> key_rows) {
  struct Backward final : Node {
    Var q, k, v;
    Tensor lse;
    kernels::AttentionLayout layout;
    kernels::AttentionShape shape;
    std::span<const int32_t> key_rows;
    Var o;
    Backward(Var q_in, Var k_in, Var v_in, Tensor l, const kernels::AttentionLayout& a,
             const kernels::AttentionShape& s, std::span<const int32_t> rows, Var out)
        : q(q_in), k(k_in), v(v_in), lse(std::move(l)), layout(a), shape(s), key_rows(rows), o(out) {}
    void backward(Tape& tape) override {
      const Tensor d_o = tape.take_grad(o);
      if (!d_o.defined()) return;
      const Tensor keys = keys_of(k.value(), key_rows), values = keys_of(v.value(), key_rows);
      Tensor d_q = wide_like(q.value()), d_keys = wide_like(keys), d_values = wide_like(values);
      kernels::attention_backward(q.value(), keys, values, o.value(), lse, d_o, layout, shape, d_q, d_keys, d_values);
      tape.accumulate(q, std::move(d_q));
      accumulate(tape, k, std::move(d_keys));
      accumulate(tape, v, std::move(d_values));
    }
    void accumulate(Tape& tape, Var x, Tensor d_keys) const {
      if (key_rows.empty()) return tape.accumulate(x, std::move(d_keys));
      Tensor d_x = Tensor::zeros(x.value().shape(), d_keys.dtype());
      kernels::embedding_backward(key_rows, d_keys, d_x);  // scatter
      tape.accumulate(x, std::move(d_x));
    }
  };
  Tape& tape = *q.tape;
  GRADUS_CHECK(cache == nullptr || (!tape.recording() && key_rows.empty()));
  Tensor o = like(q.value());
  Tensor lse = Tensor::empty({q.value().dim(0), shape.heads}, kernels::computed_in(o.dtype()));
  kernels::KeyValuePages own;
  if (cache == nullptr) own = kernels::make_key_value_pages(n_pages, shape, o.dtype());
  kernels::KeyValuePages& pages = cache != nullptr ? *cache : own;
  store_keys(keys_of(k.value(), key_rows), keys_of(v.value(), key_rows), layout, shape, pages);
  kernels::attention_forward(q.value(), pages, layout, shape, o, lse);
  const Var out = tape.emit(std::move(o), tape.needs_grad(q) || tape.needs_grad(k) || tape.needs_grad(v));
  if (tape.needs_grad(out)) tape.record<Backward>(q, k, v, std::move(lse), layout, shape, key_rows, out);
  return out;
}

Var swiglu(Var gate, Var up) {
  struct Backward final : Node {
    Var gate, up, y;
    Backward(Var g, Var u, Var out) : gate(g), up(u), y(out) {}
    void backward(Tape& tape) override {
      const Tensor d_y = tape.take_grad(y);
      if (!d_y.defined()) return;
      Tensor d_gate = like(d_y), d_up = like(d_y);
      kernels::swiglu_backward(gate.value(), up.value(), d_y, d_gate, d_up);
      tape.accumulate(gate, std::move(d_gate));
      tape.accumulate(up, std::move(d_up));
    }
  };
  Tape& tape = *gate.tape;
  Tensor y = like(gate.value());
  kernels::swiglu(gate.value(), up.value(), y);
  const Var out = tape.emit(std::move(y), tape.needs_grad(gate) || tape.needs_grad(up));
  if (tape.recording()) tape.record<Backward>(gate, up, out);
  return out;
}

Var silu(Var x) {
  Tensor ones = like(x.value());
  kernels::fill(ones, 1.0);
  return swiglu(x, x.tape->constant(std::move(ones)));
}

namespace {

using Activate = void (*)(const Tensor& x, Tensor& y);
using ActivateBackward = void (*)(const Tensor& y, const Tensor& d_y, Tensor& d_x);

Var activation(Var x, Activate forward, ActivateBackward backward) {
  struct Backward final : Node {
    Var x, y;
    ActivateBackward kernel;
    Backward(Var in, Var out, ActivateBackward k) : x(in), y(out), kernel(k) {}
    void backward(Tape& tape) override {
      const Tensor d_y = tape.take_grad(y);
      if (!d_y.defined()) return;
      Tensor d_x = d_y.is_unique() ? d_y : like(d_y);  // in place, where nobody else reads it
      kernel(y.value(), d_y, d_x);
      tape.accumulate(x, std::move(d_x));
    }
  };
  Tape& tape = *x.tape;
  Tensor y = like(x.value());
  forward(x.value(), y);
  const Var out = tape.emit(std::move(y), tape.needs_grad(x));
  if (tape.recording()) tape.record<Backward>(x, out, backward);
  return out;
}

}  // namespace

Var relu(Var x) {
  return activation(x, kernels::relu, kernels::relu_backward);
}

Var tanh(Var x) {
  return activation(x, kernels::tanh, kernels::tanh_backward);
}

Var add(Var a, Var b) {
  struct Backward final : Node {
    Var a, b, y;
    Backward(Var left, Var right, Var out) : a(left), b(right), y(out) {}
    void backward(Tape& tape) override {
      const Tensor d_y = tape.take_grad(y);
      if (!d_y.defined()) return;
      tape.accumulate(b, d_y);
      tape.accumulate(a, d_y);
    }
  };
  Tape& tape = *a.tape;
  Tensor y = like(a.value());
  kernels::add(a.value(), b.value(), y);
  const Var out = tape.emit(std::move(y), tape.needs_grad(a) || tape.needs_grad(b));
  if (tape.recording()) tape.record<Backward>(a, b, out);
  return out;
}

namespace {

Tensor head_logits(const Tensor& x, const Parameter& weight) {
  Tensor logits = Tensor::empty({x.dim(0), weight.value.dim(0)}, kernels::computed_in(x.dtype()));
  kernels::gemm(x, weight.value, logits, {.transpose_b = true});
  return logits;
}

// Of logits that rows `rows` of x, which are h, gave with the head.
void add_head_gradients(const Tensor& d_wide_logits, const Tensor& h, Parameter& weight, std::span<const int32_t> rows,
                        Tensor& d_x) {
  const Tensor d_logits = kernels::converted(d_wide_logits, h.dtype());
  if (!weight.frozen) kernels::gemm(d_logits, h, weight.grad, {.transpose_a = true, .accumulate = true});
  Tensor d_h = wide_like(h);
  kernels::gemm(d_logits, weight.value, d_h);
  kernels::embedding_backward(rows, d_h, d_x);  // scatter
}

// Calls body(begin, end) for consecutive pieces of at most kHeadRows rows.
template <class Body>
void for_head_chunks(size_t n, Body body) {
  for (size_t begin = 0; begin < n; begin += kHeadRows)
    body(begin, std::min(n, begin + static_cast<size_t>(kHeadRows)));
}

}  // namespace

Var token_log_probs(Var x, Parameter& weight, std::span<const int32_t> rows, std::span<const int32_t> ids,
                    double temperature) {
  struct Backward final : Node {
    Var x;
    Parameter& weight;
    std::span<const int32_t> rows, ids;
    double temperature;
    Tensor lse;
    Var y;
    Backward(Var in, Parameter& w, std::span<const int32_t> r, std::span<const int32_t> i, double t, Tensor l, Var out)
        : x(in), weight(w), rows(r), ids(i), temperature(t), lse(std::move(l)), y(out) {}
    void backward(Tape& tape) override {
      const Tensor d_y = tape.take_grad(y);
      if (!d_y.defined()) return;
      Tensor d_x = Tensor::zeros(x.value().shape(), kernels::computed_in(x.value().dtype()));
      for_head_chunks(rows.size(), [&](size_t begin, size_t end) {
        const Tensor h = gather_rows(x.value(), rows.subspan(begin, end - begin));
        Tensor d_wide_logits = head_logits(h, weight);
        kernels::log_prob_backward(d_wide_logits, ids.subspan(begin, end - begin), temperature,
                                   lse.rows(static_cast<int64_t>(begin), static_cast<int64_t>(end)),
                                   d_y.rows(static_cast<int64_t>(begin), static_cast<int64_t>(end)));
        add_head_gradients(d_wide_logits, h, weight, rows.subspan(begin, end - begin), d_x);
      });
      tape.accumulate(x, std::move(d_x));
    }
  };
  require(rows.size() == ids.size(), "token_log_probs: {} rows but {} ids", rows.size(), ids.size());
  Tape& tape = *x.tape;
  const auto n = static_cast<int64_t>(rows.size());
  const DType wide = kernels::computed_in(x.value().dtype());
  Tensor log_p = Tensor::empty({n}, wide), lse = Tensor::empty({n}, wide);
  for_head_chunks(rows.size(), [&](size_t begin, size_t end) {
    const Tensor logits = head_logits(gather_rows(x.value(), rows.subspan(begin, end - begin)), weight);
    Tensor log_p_part = log_p.rows(static_cast<int64_t>(begin), static_cast<int64_t>(end));
    Tensor lse_part = lse.rows(static_cast<int64_t>(begin), static_cast<int64_t>(end));
    kernels::log_prob(logits, ids.subspan(begin, end - begin), temperature, log_p_part, lse_part);
  });
  const Var out = tape.emit(std::move(log_p), tape.needs_grad(x) || !weight.frozen);
  if (tape.needs_grad(out)) {
    tape.record<Backward>(x, weight, rows, ids, temperature, std::move(lse), out);
    note_gradient(tape, weight);
  }
  return out;
}

Var divergence(Var x, Parameter& weight, std::span<const int32_t> rows, Tensor teacher_x,
               const Parameter& teacher_weight) {
  struct Backward final : Node {
    Var x;
    Parameter& weight;
    std::span<const int32_t> rows;
    Tensor teacher_x;
    const Parameter& teacher_weight;
    Var y;
    Backward(Var in, Parameter& w, std::span<const int32_t> r, Tensor t, const Parameter& tw, Var out)
        : x(in), weight(w), rows(r), teacher_x(std::move(t)), teacher_weight(tw), y(out) {}
    void backward(Tape& tape) override {
      const Tensor d_y = tape.take_grad(y);
      if (!d_y.defined()) return;
      Tensor d_x = Tensor::zeros(x.value().shape(), kernels::computed_in(x.value().dtype()));
      for_head_chunks(rows.size(), [&](size_t begin, size_t end) {
        const std::span<const int32_t> chunk = rows.subspan(begin, end - begin);
        const Tensor h = gather_rows(x.value(), chunk);
        Tensor d_logits = head_logits(h, weight);
        kernels::divergence_backward(head_logits(gather_rows(teacher_x, chunk), teacher_weight), d_logits,
                                     d_y.rows(static_cast<int64_t>(begin), static_cast<int64_t>(end)));
        add_head_gradients(d_logits, h, weight, chunk, d_x);
      });
      tape.accumulate(x, std::move(d_x));
    }
  };
  Tape& tape = *x.tape;
  Tensor y = Tensor::empty({static_cast<int64_t>(rows.size())}, kernels::computed_in(x.value().dtype()));
  for_head_chunks(rows.size(), [&](size_t begin, size_t end) {
    const std::span<const int32_t> chunk = rows.subspan(begin, end - begin);
    Tensor part = y.rows(static_cast<int64_t>(begin), static_cast<int64_t>(end));
    kernels::divergence(head_logits(gather_rows(teacher_x, chunk), teacher_weight),
                        head_logits(gather_rows(x.value(), chunk), weight), part);
  });
  const Var out = tape.emit(std::move(y), tape.needs_grad(x) || !weight.frozen);
  if (tape.needs_grad(out)) {
    tape.record<Backward>(x, weight, rows, std::move(teacher_x), teacher_weight, out);
    note_gradient(tape, weight);
  }
  return out;
}

namespace {

template <class T>
T weighted_sum_of(const Tensor& x, std::span<const double> weights) {
  double total = 0;
  for (size_t i = 0; i < weights.size(); ++i) total += weights[i] * static_cast<double>(x.data<T>()[i]);
  return static_cast<T>(total);
}

template <class T>
void scale_weights(std::span<const double> weights, double s, Tensor& out) {
  for (size_t i = 0; i < weights.size(); ++i) out.data<T>()[i] = static_cast<T>(s * weights[i]);
}

}  // namespace

Var weighted_sum(Var x, std::span<const double> weights) {
  struct Backward final : Node {
    Var x;
    std::span<const double> weights;
    Var y;
    Backward(Var in, std::span<const double> w, Var out) : x(in), weights(w), y(out) {}
    void backward(Tape& tape) override {
      const Tensor d_y = tape.take_grad(y);
      if (!d_y.defined()) return;
      Tensor d_x = Tensor::empty(x.value().shape(), kernels::computed_in(x.value().dtype()));
      if (d_x.dtype() == DType::f64) {
        scale_weights<double>(weights, d_y.data<double>()[0], d_x);
      } else {
        scale_weights<float>(weights, static_cast<double>(d_y.data<float>()[0]), d_x);
      }
      tape.accumulate(x, std::move(d_x));
    }
  };
  require(x.value().numel() == static_cast<int64_t>(weights.size()), "weighted_sum: {} values but {} weights",
          x.value().numel(), weights.size());
  Tape& tape = *x.tape;
  const Tensor wide = kernels::converted(x.value(), kernels::computed_in(x.value().dtype()));
  Tensor y = Tensor::empty({1}, wide.dtype());
  if (y.dtype() == DType::f64) {
    y.data<double>()[0] = weighted_sum_of<double>(wide, weights);
  } else {
    y.data<float>()[0] = weighted_sum_of<float>(wide, weights);
  }
  const Var out = tape.emit(std::move(y), tape.needs_grad(x));
  if (tape.recording()) tape.record<Backward>(x, weights, out);
  return out;
}

}  // namespace gradus::autograd
