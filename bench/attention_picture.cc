// `gradus bench attention --pictures`: how attention grows with the number of tokens, by the textbook and in tiles.
// Times are measured; memory is what each allocates; bytes moved are counted, by the rule of AttentionTraffic.
#include <cmath>
#include <numeric>

#include "bench/alternation.h"
#include "bench/bench.h"
#include "bench/naive_attention.h"
#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/rng.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/attention.h"
#include "gradus/kernels/cpu/attention.h"
#include "gradus/run/chart.h"

namespace gradus::bench {

namespace {

using kernels::kKeyBlock;

constexpr int64_t kHeadSize = 64;
constexpr double kFloat = sizeof(float), kMega = 1e6;

// A figure of both ways and passes.
struct Figures {
  double naive_forward = 0, naive_backward = 0, tiled_forward = 0, tiled_backward = 0;
};

// f32 numbers that one head of N tokens moves between the caches and what lies behind them, where no matrix stays in a
// cache from one operation to the next, or from one tile to the next. Full attention; D = head size.
struct AttentionTraffic {
  double N, D;

  // S = Q K^T writes S; scaling and softmax each read and write it; P V reads it.
  double naive_forward() const { return 6 * N * N + 4 * N * D; }
  // dV = P^T dO reads P; dP = dO V^T writes dP; dS reads both and writes itself; dQ = dS K and dK = dS^T Q read it. Of
  // q, k, v, o, d_o each operation reads its two and writes its one.
  double naive_backward() const { return 7 * N * N + 10 * N * D; }
  // k, v are read and written once, as pages. A tile of rows reads its q and writes its o and lse; it reads all pages.
  double tiled_forward() const {
    const double tiles = std::ceil(N / static_cast<double>(kernels::cpu::kTileRows));
    return 4 * N * D + 2 * N * D + N + tiles * 2 * N * D;
  }
  // A block of keys reads its k, v and writes its d_k, d_v; of all rows it reads q, o, d_o and lse, and reads and
  // writes d_q, which was set to zero before.
  double tiled_backward() const {
    const double blocks = std::ceil(N / static_cast<double>(kKeyBlock));
    return 4 * N * D + N * D + blocks * (5 * N * D + N);
  }
  // q, k, v read and o written once: what every forward has to move.
  double least_forward() const { return 4 * N * D; }

  Figures bytes() const {
    return {kFloat * naive_forward(), kFloat * naive_backward(), kFloat * tiled_forward(), kFloat * tiled_backward()};
  }
};

Tensor normal(Shape shape, uint64_t index) {
  Tensor t = Tensor::empty(shape);
  Rng rng(1, Purpose::test, index);
  for (float& x : t.span<float>()) x = static_cast<float>(rng.normal());
  return t;
}

// q, k, v, d_o and what the passes make of them.
struct Operands {
  Tensor q, k, v, d_o, o, d_q, d_k, d_v;

  explicit Operands(Shape shape)
      : q(normal(shape, 1)), k(normal(shape, 2)), v(normal(shape, 3)), d_o(normal(shape, 4)) {
    for (Tensor* x : {&o, &d_q, &d_k, &d_v}) *x = Tensor::empty(shape);
  }
};

struct Point {
  int64_t seq;
  Figures seconds, bytes, bytes_moved;  // of one head
  double least_bytes_moved;
};

// One sequence with a head for each thread, full attention; figures are those of one head.
Point measure(int64_t seq, int rounds) {
  const int64_t heads = pool().size();
  kernels::AttentionShape shape{.heads = heads,
                                .kv_heads = heads,
                                .head_size = kHeadSize,
                                .scale = 1 / std::sqrt(static_cast<double>(kHeadSize)),
                                .left = -1,
                                .right = -1};
  const std::vector<int32_t> offsets = {0, static_cast<int32_t>(seq)};
  std::vector<int32_t> positions(static_cast<size_t>(seq)), table((positions.size() + kKeyBlock - 1) / kKeyBlock);
  std::iota(positions.begin(), positions.end(), 0);
  std::iota(table.begin(), table.end(), 0);
  const kernels::AttentionLayout layout{.row_offsets = offsets,
                                        .key_positions = positions,
                                        .block_table = table,
                                        .max_blocks = static_cast<int64_t>(table.size())};
  kernels::KeyValuePages pages = kernels::make_key_value_pages(static_cast<int64_t>(table.size()), shape, DType::f32);
  Operands all({seq, heads * kHeadSize}), one({seq, kHeadSize});
  Tensor lse = Tensor::empty({seq, heads});
  NaiveAttention naive(seq, shape.scale, false);

  Alternation turns;
  const double flops = 4.0 * static_cast<double>(heads * kHeadSize * seq) * static_cast<double>(seq);
  const auto tiled_forward = turns.add(
      [&] {
        kernels::store_keys_values(all.k, all.v, layout, shape, pages);
        kernels::attention_forward(all.q, pages, layout, shape, all.o, lse);
      },
      repeats_for(flops));
  const auto tiled_backward = turns.add(
      [&] {
        kernels::attention_backward(all.q, all.k, all.v, all.o, lse, all.d_o, layout, shape, all.d_q, all.d_k, all.d_v);
      },
      repeats_for(2.5 * flops));
  const auto naive_forward =
      turns.add([&] { naive.forward(one.q, one.k, one.v, one.o); }, repeats_for(flops / static_cast<double>(heads)));
  const auto naive_backward =
      turns.add([&] { naive.backward(one.q, one.k, one.v, one.o, one.d_o, one.d_q, one.d_k, one.d_v); },
                repeats_for(2.5 * flops / static_cast<double>(heads)));
  turns.run(rounds);

  const double n_heads = static_cast<double>(heads);
  shape.heads = shape.kv_heads = 1;
  const double workspace = static_cast<double>(kernels::attention_workspace_bytes(seq, shape, pool().size()));
  const AttentionTraffic traffic{.N = static_cast<double>(seq), .D = kHeadSize};
  return {
      .seq = seq,
      .seconds = {.naive_forward = turns.median_s(naive_forward),
                  .naive_backward = turns.median_s(naive_backward),
                  .tiled_forward = turns.median_s(tiled_forward) / n_heads,
                  .tiled_backward = turns.median_s(tiled_backward) / n_heads},
      .bytes = {.naive_forward = static_cast<double>(NaiveAttention::bytes(seq, false)),
                .naive_backward = static_cast<double>(NaiveAttention::bytes(seq, true)),
                .tiled_forward = workspace + static_cast<double>(pages.keys.bytes() + pages.values.bytes()) / n_heads,
                .tiled_backward = workspace},
      .bytes_moved = traffic.bytes(),
      .least_bytes_moved = kFloat * traffic.least_forward()};
}

Row row_of(const Point& p) {
  Row row = {{"seq", p.seq}, {"head_dim", kHeadSize}, {"threads", int64_t{pool().size()}}};
  const auto add = [&](const std::string& what, const Figures& f, double unit) {
    row.emplace_back("naive_forward_" + what, f.naive_forward / unit);
    row.emplace_back("naive_backward_" + what, f.naive_backward / unit);
    row.emplace_back("forward_" + what, f.tiled_forward / unit);
    row.emplace_back("backward_" + what, f.tiled_backward / unit);
  };
  add("us", p.seconds, 1e-6);
  add("mb", p.bytes, kMega);
  add("moved_mb", p.bytes_moved, kMega);
  return row;
}

// Lines over the number of tokens: value(p, figures of p) for each way and pass.
template <class Value>
run::Chart chart_of(run::Chart chart, const std::vector<Point>& points, Figures Point::*figures, Value value) {
  chart.x = {.label = "tokens", .log_base = 2};
  const auto add = [&](const char* name, double Figures::*figure) {
    run::Series series{.name = name, .markers = true};
    for (const Point& p : points) {
      series.points.emplace_back(static_cast<double>(p.seq), value(p, (p.*figures).*figure));
    }
    chart.series.push_back(std::move(series));
  };
  add("textbook, forward", &Figures::naive_forward);
  add("textbook, backward", &Figures::naive_backward);
  add("tiles, forward", &Figures::tiled_forward);
  add("tiles, backward", &Figures::tiled_backward);
  return chart;
}

}  // namespace

void attention_pictures(const AttentionPictureOptions& options, const Sink& sink) {
  std::vector<Point> points;
  for (const int64_t seq : options.lengths) {
    require(seq >= 1 && seq <= kLongestNaive, "bench attention: the length {} is not from 1 to {}", seq, kLongestNaive);
    points.push_back(measure(seq, options.rounds));
    sink(row_of(points.back()));
  }
  const auto write = [&](const char* name, const run::Chart& chart) {
    write_file_atomically(options.folder / name, run::to_svg(chart));
  };
  // Times and bytes moved grow with N^2: by it, or the curves would hide each other.
  const auto per_pair = [](const Point& p, double figure) {
    return figure / (static_cast<double>(p.seq) * static_cast<double>(p.seq));
  };
  run::Chart time{.title = "Time of attention per pair of query and key",
                  .y = {.label = "ns; f32, head size 64", .covers = {0}}};
  write("attention-time.svg", chart_of(std::move(time), points, &Point::seconds,
                                       [&](const Point& p, double s) { return per_pair(p, s) * 1e9; }));
  write("attention-memory.svg", chart_of({.title = "Memory of one head of attention beside inputs and outputs",
                                          .y = {.label = "MB; f32, head size 64", .log_base = 10}},
                                         points, &Point::bytes, [](const Point&, double x) { return x / kMega; }));
  run::Chart moved{.title = "Bytes moved per pair of query and key, if no matrix stays in a cache",
                   .y = {.label = "bytes; f32, head size 64", .covers = {0}}};
  moved = chart_of(std::move(moved), points, &Point::bytes_moved, per_pair);
  run::Series least{.name = "q, k, v, o once", .markers = true};
  for (const Point& p : points) least.points.emplace_back(static_cast<double>(p.seq), per_pair(p, p.least_bytes_moved));
  moved.series.push_back(std::move(least));
  write("attention-traffic.svg", moved);
}

}  // namespace gradus::bench
