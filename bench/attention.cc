// `gradus bench attention`: the tiled attention that training and sampling run, beside the textbook's N x N one.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>

#include "bench/alternation.h"
#include "bench/bench.h"
#include "bench/machine_loops.h"
#include "bench/naive_attention.h"
#include "bench/peak_loops.h"
#include "gradus/core/error.h"
#include "gradus/core/rng.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/attention.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"

namespace gradus::bench {

namespace {

using kernels::AttentionShape;
using kernels::kKeyBlock;

// Of batch 1; heads are enough for every thread to have some of its own.
struct Case {
  DType dtype;
  bool causal;
  int64_t heads, kv_heads, seq, head_dim;

  double visible_pairs() const {  // the field's count: half of all when causal
    return static_cast<double>(seq) * static_cast<double>(seq) * (causal ? 0.5 : 1.0);
  }
  double forward_flops() const { return 4.0 * static_cast<double>(heads * head_dim) * visible_pairs(); }
  double backward_flops() const { return 2.5 * forward_flops(); }
  AttentionShape shape() const {
    return {.heads = heads,
            .kv_heads = kv_heads,
            .head_size = head_dim,
            .scale = 1 / std::sqrt(static_cast<double>(head_dim)),
            .left = -1,
            .right = causal ? 0 : -1};
  }
};

// Normal numbers that `through` has, as f32, f64 or in itself.
Tensor normal(Shape shape, uint64_t index, DType through) {
  Tensor t = Tensor::empty(shape);
  Rng rng(1, Purpose::test, index);
  for (float& x : t.span<float>()) x = static_cast<float>(rng.normal());
  return kernels::converted(t, through);
}

double largest_difference(const Tensor& got, const Tensor& want) {
  const Tensor x = kernels::converted(got, DType::f64);
  double largest = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    largest = std::max(largest, std::abs(x.data<double>()[i] - want.data<double>()[i]));
  }
  return largest;
}

// One sequence of c.seq tokens with its pages.
class Problem {
 public:
  // The numbers are those of c.dtype, held in `dtype`.
  Problem(const Case& wanted, DType dtype)
      : c(wanted),
        shape(wanted.shape()),
        offsets{0, static_cast<int32_t>(wanted.seq)},
        positions(static_cast<size_t>(wanted.seq)) {
    std::iota(positions.begin(), positions.end(), 0);
    table.resize(static_cast<size_t>((c.seq + kKeyBlock - 1) / kKeyBlock));
    std::iota(table.begin(), table.end(), 0);
    const int64_t q_width = c.heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
    const DType sums = dtype == DType::f64 ? DType::f64 : DType::f32;
    const auto make = [&](int64_t width, uint64_t index) {
      return kernels::converted(normal({c.seq, width}, index, c.dtype), dtype);
    };
    q = make(q_width, 1);
    k = make(kv_width, 2);
    v = make(kv_width, 3);
    d_o = make(q_width, 4);
    o = Tensor::empty(q.shape(), dtype);
    lse = Tensor::empty({c.seq, c.heads}, sums);
    d_q = Tensor::empty(q.shape(), sums);
    d_k = Tensor::empty(k.shape(), sums);
    d_v = Tensor::empty(k.shape(), sums);
    pages = kernels::make_key_value_pages(static_cast<int64_t>(table.size()), shape, dtype);
  }

  kernels::AttentionLayout layout() const {
    return {.row_offsets = offsets,
            .key_positions = positions,
            .block_table = table,
            .max_blocks = static_cast<int64_t>(table.size())};
  }
  void forward() {  // packing of keys and values included
    kernels::store_keys_values(k, v, layout(), shape, pages);
    kernels::attention_forward(q, pages, layout(), shape, o, lse);
  }
  void backward() { kernels::attention_backward(q, k, v, o, lse, d_o, layout(), shape, d_q, d_k, d_v); }

  Case c;
  AttentionShape shape;
  std::vector<int32_t> offsets, positions, table;
  Tensor q, k, v, d_o, o, lse, d_q, d_k, d_v;
  kernels::KeyValuePages pages;
};

// The textbook's way over all heads, one after the other; in 16-bit dtypes with float products, rounded.
class NaiveProblem {
 public:
  explicit NaiveProblem(const Case& c) : heads_(c.heads), naive_(c.seq, c.shape().scale, c.causal, c.dtype) {
    const Shape one_head{c.seq, c.head_dim};
    const auto make = [&](uint64_t index) { return kernels::converted(normal(one_head, index, c.dtype), DType::f32); };
    q_ = make(1);
    k_ = make(2);
    v_ = make(3);
    d_o_ = make(4);
    for (Tensor* x : {&o_, &d_q_, &d_k_, &d_v_}) *x = Tensor::empty(one_head);
  }
  void forward() {
    for (int64_t h = 0; h < heads_; ++h) naive_.forward(q_, k_, v_, o_);
  }
  void backward() {
    for (int64_t h = 0; h < heads_; ++h) naive_.backward(q_, k_, v_, o_, d_o_, d_q_, d_k_, d_v_);
  }
  double error(const Problem& exact, bool backward) const {
    if (!backward) return largest_difference(o_, exact.o);
    return std::max({largest_difference(d_q_, exact.d_q), largest_difference(d_k_, exact.d_k),
                     largest_difference(d_v_, exact.d_v)});
  }

 private:
  int64_t heads_;
  NaiveAttention naive_;
  Tensor q_, k_, v_, d_o_, o_, d_q_, d_k_, d_v_;
};

// The largest errors of one head against the scalar reference in double, on the same inputs.
struct Errors {
  double forward = 0, backward = 0, naive_forward = 0, naive_backward = 0;
};

Errors measure_errors(Case c) {
  c.heads = c.kv_heads = 1;
  Problem tiled(c, c.dtype), exact(c, DType::f64);
  NaiveProblem naive(c);
  for (Problem* p : {&tiled, &exact}) {
    p->forward();
    p->backward();
  }
  naive.forward();
  naive.backward();
  return {.forward = largest_difference(tiled.o, exact.o),
          .backward = std::max({largest_difference(tiled.d_q, exact.d_q), largest_difference(tiled.d_k, exact.d_k),
                                largest_difference(tiled.d_v, exact.d_v)}),
          .naive_forward = naive.error(exact, false),
          .naive_backward = naive.error(exact, true)};
}

void run_case(const Case& c, const AttentionOptions& options, const Sink& sink) {
  const bool with_naive = c.seq <= kLongestNaive;
  Problem problem(c, c.dtype);
  std::optional<NaiveProblem> naive;
  if (with_naive) naive.emplace(c);
  Alternation rounds;
  PeakLoops peak(rounds, c.dtype);
  const auto forward = rounds.add([&] { problem.forward(); }, repeats_for(c.forward_flops()));
  const auto backward = rounds.add([&] { problem.backward(); }, repeats_for(c.backward_flops()));
  Alternation::Id naive_forward = 0, naive_backward = 0;
  if (with_naive) {
    naive_forward = rounds.add([&] { naive->forward(); }, repeats_for(c.forward_flops()));
    naive_backward = rounds.add([&] { naive->backward(); }, repeats_for(c.backward_flops()));
  }
  rounds.run(options.rounds);
  const Errors errors = with_naive ? measure_errors(c) : Errors{};
  const double limit = peak.gflops();

  const auto row = [&](const char* pass, bool is_backward, double flops, Alternation::Id id, Alternation::Id naive_id) {
    const double seconds = rounds.median_s(id), gflops = flops / seconds * 1e-9;
    sink({{"pass", pass},
          {"dtype", std::string(name(c.dtype))},
          {"causal", c.causal},
          {"batch", int64_t{1}},
          {"heads", c.heads},
          {"kv_heads", c.kv_heads},
          {"seq", c.seq},
          {"head_dim", c.head_dim},
          {"threads", int64_t{pool().size()}},
          {"gflops", gflops},
          {"peak_gflops", limit},
          {"share_of_peak", gflops / limit},
          {"max_error", is_backward ? errors.backward : errors.forward},
          {"naive_error", is_backward ? errors.naive_backward : errors.naive_forward},
          {"workspace_bytes", kernels::attention_workspace_bytes(c.seq, problem.shape, pool().size())},
          {"time_us", seconds * 1e6},
          {"naive_time_us", with_naive ? rounds.median_s(naive_id) * 1e6 : 0.0},
          {"naive_bytes", NaiveAttention::bytes(c.seq, is_backward)}});
  };
  row("forward", false, c.forward_flops(), forward, naive_forward);
  row("backward", true, c.backward_flops(), backward, naive_backward);
}

// One new token after `seq` stored ones: every key and value is read once.
void run_decode(DType dtype, const AttentionOptions& options, const Sink& sink) {
  const Case c{.dtype = dtype, .causal = true, .heads = 32, .kv_heads = 8, .seq = 32768, .head_dim = 128};
  const AttentionShape shape = c.shape();
  const int64_t n_pages = c.seq / kKeyBlock;
  kernels::KeyValuePages pages = kernels::make_key_value_pages(n_pages, shape, dtype);
  for (Tensor* x : {&pages.keys, &pages.values}) {
    Tensor value = Tensor::empty(x->shape());
    kernels::fill(value, 0.01);
    kernels::convert(value, *x);
  }
  const std::vector<int32_t> offsets = {0, 1}, positions = {static_cast<int32_t>(c.seq - 1)};
  std::vector<int32_t> table(static_cast<size_t>(n_pages));
  std::iota(table.begin(), table.end(), 0);
  const kernels::AttentionLayout layout{
      .row_offsets = offsets, .key_positions = positions, .block_table = table, .max_blocks = n_pages};
  const Tensor q = normal({1, c.heads * c.head_dim}, 1, dtype);
  Tensor o = Tensor::empty(q.shape(), dtype), lse = Tensor::empty({1, c.heads});
  Alternation rounds;
  const auto decode = rounds.add([&] { kernels::attention_forward(q, pages, layout, shape, o, lse); });
  Tensor memory = Tensor::empty({int64_t{1} << 26});  // 256 MiB
  kernels::fill(memory, 1.0);
  const auto read = rounds.add([&] {
    parallel_ranges(memory.numel(), 1 << 20, [&](int64_t begin, int64_t end) {
      read_loop(memory.span<float>().subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
    });
  });
  rounds.run(options.rounds);
  const double rate = static_cast<double>(pages.keys.bytes() + pages.values.bytes()) / rounds.median_s(decode) * 1e-9;
  const double bandwidth = static_cast<double>(memory.bytes()) / rounds.median_s(read) * 1e-9;
  sink({{"pass", "decode"},
        {"dtype", std::string(name(dtype))},
        {"batch", int64_t{1}},
        {"heads", c.heads},
        {"kv_heads", c.kv_heads},
        {"context", c.seq},
        {"head_dim", c.head_dim},
        {"threads", int64_t{pool().size()}},
        {"gb_per_s", rate},
        {"bandwidth_gb_per_s", bandwidth},
        {"share_of_bandwidth", rate / bandwidth},
        {"time_us", rounds.median_s(decode) * 1e6}});
}

}  // namespace

void attention(const AttentionOptions& options, const Sink& sink) {
  for (const DType dtype : options.dtypes) {
    require(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16,
            "bench attention: no kernel to measure for {}; give f32, bf16 or f16", name(dtype));
  }
  for (const int64_t seq : options.lengths) {
    require(seq >= 1 && seq <= kLongestAttention, "bench attention: the length {} is not from 1 to {}", seq,
            kLongestAttention);
    for (const DType dtype : options.dtypes) {
      for (const int64_t head_dim : {64, 128}) {
        for (const bool causal : {false, true}) {
          const int64_t heads = std::clamp<int64_t>(8192 / seq, 2, 8);
          run_case(
              {.dtype = dtype, .causal = causal, .heads = heads, .kv_heads = heads, .seq = seq, .head_dim = head_dim},
              options, sink);
        }
      }
    }
  }
  for (const DType dtype : options.dtypes) run_decode(dtype, options, sink);
}

}  // namespace gradus::bench
