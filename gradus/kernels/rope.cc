#include "gradus/kernels/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "gradus/kernels/as_floats.h"
#include "gradus/kernels/cpu/rope.h"

namespace gradus::kernels {

namespace {

void rotate(std::string_view op, Tensor& x, std::span<const int32_t> positions, int64_t heads, const RopeTable& table,
            int sign) {
  require_matrix(op, "x", x);
  require_matrix(op, "table.cos", table.cos);
  require_tensor(op, "table.sin", table.sin, table.cos.shape(), table.cos);
  const int64_t rows = x.dim(0), half = table.cos.dim(1);
  require_tensor(op, "x", x, {rows, heads * 2 * half}, x);
  require_tensor(op, "table.cos", table.cos, table.cos.shape(), x, computed_in(x.dtype()));
  require_rows(op, "positions", positions.size(), rows);
  require_indices(op, "position", positions, table.cos.dim(0));
  for_computed_type(op, x, [&]<class T>() {
    const auto kernel = choose(ref::rope_row<T>, cpu::rope_row);
    const Reader<T> x_r(x, 0);
    const Writer<T> x_w(x, 0);  // in place: the row's scratch too
    const T *cos_p = table.cos.data<T>(), *sin_p = table.sin.data<T>();
    const int64_t cols = x.dim(1);
    for_rows(rows, cols, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t offset = positions[static_cast<size_t>(r)] * half;
        x_r(r * cols, cols);
        kernel({.x = x_w(r * cols, cols),
                .cos = cos_p + offset,
                .sin = sin_p + offset,
                .sign = static_cast<T>(sign),
                .heads = heads,
                .half = half});
        x_w.store(r * cols, cols);
      }
    });
  });
}

}  // namespace

namespace {

// The pair, as a real number, that turns `turns` times over the original positions (arXiv 2309.00071, section 3.2).
double pair_of_turns(double turns, int64_t head_size, double theta, const RopeScaling& s) {
  return static_cast<double>(head_size) * std::log(s.original_positions / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(theta));
}

void check_scaling(const RopeScaling& s, double theta) {
  const auto is_number = [](double x, double least) { return std::isfinite(x) && x >= least; };
  require(is_number(s.factor, 1), "rope: factor is {} but must be at least 1", s.factor);
  require(is_number(s.attention_factor, 0), "rope: attention_factor is {} but must not be negative",
          s.attention_factor);
  if (s.type != RopeType::yarn && s.type != RopeType::llama3) return;
  require(is_number(s.original_positions, 1), "rope: original_max_position_embeddings is {} but must be at least 1",
          s.original_positions);
  if (s.type == RopeType::yarn) {
    require(is_number(s.beta_slow, 1e-9) && is_number(s.beta_fast, s.beta_slow) && theta != 1,
            "rope: beta_fast {} and beta_slow {} must be positive, the first not below the second, and theta {} not 1",
            s.beta_fast, s.beta_slow, theta);
  } else {
    require(is_number(s.low_freq_factor, 1e-9) && std::isfinite(s.high_freq_factor) &&
                s.high_freq_factor > s.low_freq_factor,
            "rope: low_freq_factor {} must be positive and below high_freq_factor {}", s.low_freq_factor,
            s.high_freq_factor);
  }
}

void stretch_yarn(std::vector<double>& f, int64_t head_size, double theta, const RopeScaling& s) {
  double low = pair_of_turns(s.beta_fast, head_size, theta, s), high = pair_of_turns(s.beta_slow, head_size, theta, s);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, static_cast<double>(head_size - 1));
  if (low == high) high += 0.001;  // as `transformers` does: a step, no division by zero
  for (size_t i = 0; i < f.size(); ++i) {
    const double r = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    f[i] = f[i] * (1 - r) + f[i] / s.factor * r;
  }
}

void stretch_llama3(std::vector<double>& f, const RopeScaling& s) {
  for (double& g : f) {
    const double turns = s.original_positions * g / (2 * std::numbers::pi);  // o / w
    const double t = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    g = t > 1 ? g : t < 0 ? g / s.factor : (1 - t) * g / s.factor + t * g;
  }
}

}  // namespace

RopeFrequencies rope_frequencies(int64_t head_size, double theta, const RopeScaling& scaling) {
  require(head_size > 0 && head_size % 2 == 0, "rope table: head size is {} but must be even and positive", head_size);
  require(theta > 0 && std::isfinite(theta), "rope table: theta is {} but must be positive and finite", theta);
  check_scaling(scaling, theta);
  RopeFrequencies out;
  std::vector<double>& f = out.per_position;
  for (int64_t i = 0; i < head_size / 2; ++i)
    f.push_back(std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_size)));
  switch (scaling.type) {
    case RopeType::standard:
      break;
    case RopeType::linear:
      for (double& g : f) g /= scaling.factor;
      break;
    case RopeType::yarn:
      stretch_yarn(f, head_size, theta, scaling);
      out.amplitude = scaling.attention_factor > 0 ? scaling.attention_factor : 0.1 * std::log(scaling.factor) + 1;
      break;
    case RopeType::llama3:
      stretch_llama3(f, scaling);
      break;
  }
  return out;
}

RopeTable make_rope_table(int64_t max_positions, int64_t head_size, double theta, DType dtype,
                          const RopeScaling& scaling) {
  const RopeFrequencies frequencies = rope_frequencies(head_size, theta, scaling);
  require(max_positions >= 0, "rope table: max_positions is {} but must not be negative", max_positions);
  const int64_t half = head_size / 2;
  RopeTable table{Tensor::empty({max_positions, half}, dtype), Tensor::empty({max_positions, half}, dtype)};
  for_float_type("rope table", table.cos, [&]<class T>() {
    T *cos_p = table.cos.data<T>(), *sin_p = table.sin.data<T>();
    for (int64_t p = 0; p < max_positions; ++p) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle_rad = static_cast<double>(p) * frequencies.per_position[static_cast<size_t>(i)];
        cos_p[p * half + i] = static_cast<T>(frequencies.amplitude * std::cos(angle_rad));
        sin_p[p * half + i] = static_cast<T>(frequencies.amplitude * std::sin(angle_rad));
      }
    }
  });
  return table;
}

void rope(Tensor& x, std::span<const int32_t> positions, int64_t heads, const RopeTable& table) {
  rotate("rope", x, positions, heads, table, 1);
}

void rope_backward(Tensor& d_x, std::span<const int32_t> positions, int64_t heads, const RopeTable& table) {
  rotate("rope_backward", d_x, positions, heads, table, -1);
}

}  // namespace gradus::kernels
