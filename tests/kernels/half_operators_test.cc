// Operators on 16-bit tensors: the f32 operator on the widened inputs, rounded once, bit for bit, on every instruction
// set. What the f32 operators compute is tested in their own files.
#include "gradus/kernels/activation.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/embedding.h"
#include "gradus/kernels/norm.h"
#include "gradus/kernels/rope.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

Tensor wide(const Tensor& x) {
  return converted(x, DType::f32);
}
Tensor half(Shape shape, DType dtype, uint64_t stream) {
  return converted(random_tensor(shape, DType::f32, stream), dtype);
}

template <class Body>
void for_each_half(Body body) {
  for_each_isa([&] {
    for (const DType dtype : {DType::bf16, DType::f16}) {
      SCOPED_TRACE(std::string(name(dtype)));
      for (const int64_t cols : {8, 62, 2500}) body(dtype, Shape{3, cols});
    }
  });
}

TEST(HalfOperators, AddRoundsOnce) {
  for_each_half([](DType dtype, Shape shape) {
    const Tensor a = half(shape, dtype, 1), b = half(shape, dtype, 2);
    Tensor y = Tensor::empty(shape, dtype), y32 = Tensor::empty(shape), in_place = a.clone();
    add(a, b, y);
    add(wide(a), wide(b), y32);
    EXPECT_TRUE(same_bits(y, converted(y32, dtype)));
    add_in_place(in_place, b);
    EXPECT_TRUE(same_bits(in_place, y));
  });
}

TEST(HalfOperators, ScaleAndAxpyRoundOnce) {
  for_each_half([](DType dtype, Shape shape) {
    const Tensor x = half(shape, dtype, 1), y = half(shape, dtype, 2);
    Tensor scaled = x.clone(), scaled32 = wide(x), sum = y.clone(), sum32 = wide(y);
    scale_in_place(scaled, 0.3);
    scale_in_place(scaled32, 0.3);
    EXPECT_TRUE(same_bits(scaled, converted(scaled32, dtype)));
    axpy(-1.7, x, sum);
    axpy(-1.7, wide(x), sum32);
    EXPECT_TRUE(same_bits(sum, converted(sum32, dtype)));
  });
}

TEST(HalfOperators, BiasesAndTheirGradientsAreF32) {
  for_each_half([](DType dtype, Shape shape) {
    const Tensor bias = random_tensor({shape[1]}, DType::f32, 3);
    Tensor y = half(shape, dtype, 1), y32 = wide(y), d_bias = bias.clone(), d_bias32 = bias.clone();
    bias_backward(y, d_bias);
    bias_backward(y32, d_bias32);
    EXPECT_TRUE(same_bits(d_bias, d_bias32));
    add_bias(y, bias);
    add_bias(y32, bias);
    EXPECT_TRUE(same_bits(y, converted(y32, dtype)));
  });
}

TEST(HalfOperators, RmsNorm) {
  for_each_half([](DType dtype, Shape shape) {
    const Tensor x = half(shape, dtype, 1), gain = random_tensor({shape[1]}, DType::f32, 2),
                 d_y = half(shape, dtype, 3);
    Tensor y = Tensor::empty(shape, dtype), y32 = Tensor::empty(shape), inv = Tensor::empty({shape[0]});
    Tensor inv32 = inv.clone(), d_x = y.clone(), d_x32 = y32.clone();
    Tensor d_gain = gain.clone(), d_gain32 = gain.clone();
    rms_norm(x, gain, 1e-6, y, inv);
    rms_norm(wide(x), gain, 1e-6, y32, inv32);
    EXPECT_TRUE(same_bits(y, converted(y32, dtype)));
    EXPECT_TRUE(same_bits(inv, inv32));
    rms_norm_backward(x, gain, inv, d_y, d_x, d_gain);
    rms_norm_backward(wide(x), gain, inv, wide(d_y), d_x32, d_gain32);
    EXPECT_TRUE(same_bits(d_x, converted(d_x32, dtype)));
    EXPECT_TRUE(same_bits(d_gain, d_gain32));
  });
}

TEST(HalfOperators, Rope) {
  for_each_half([](DType dtype, Shape shape) {
    const RopeTable table = make_rope_table(16, shape[1], 10000);
    const std::vector<int32_t> positions = {3, 0, 15};
    Tensor x = half(shape, dtype, 1), x32 = wide(x);
    rope(x, positions, 1, table);
    rope(x32, positions, 1, table);
    EXPECT_TRUE(same_bits(x, converted(x32, dtype)));
  });
}

TEST(HalfOperators, SwiGlu) {
  for_each_half([](DType dtype, Shape shape) {
    const Tensor gate = half(shape, dtype, 1), up = half(shape, dtype, 2), d_y = half(shape, dtype, 3);
    Tensor y = Tensor::empty(shape, dtype), y32 = Tensor::empty(shape);
    Tensor d_gate = y.clone(), d_up = y.clone(), d_gate32 = y32.clone(), d_up32 = y32.clone();
    swiglu(gate, up, y);
    swiglu(wide(gate), wide(up), y32);
    EXPECT_TRUE(same_bits(y, converted(y32, dtype)));
    swiglu_backward(gate, up, d_y, d_gate, d_up);
    swiglu_backward(wide(gate), wide(up), wide(d_y), d_gate32, d_up32);
    EXPECT_TRUE(same_bits(d_gate, converted(d_gate32, dtype)));
    EXPECT_TRUE(same_bits(d_up, converted(d_up32, dtype)));
  });
}

TEST(HalfOperators, EmbeddingCopiesAndItsGradientIsF32) {
  for_each_half([](DType dtype, Shape shape) {
    const Tensor table = half(shape, dtype, 1), d_y = half({4, shape[1]}, dtype, 2);
    const std::vector<int32_t> ids = {2, 0, 2, 1};
    Tensor y = Tensor::empty({4, shape[1]}, dtype), y32 = Tensor::empty({4, shape[1]});
    Tensor d_table = Tensor::zeros(shape), d_table32 = Tensor::zeros(shape);
    embedding(ids, table, y);
    embedding(ids, wide(table), y32);
    EXPECT_TRUE(same_bits(wide(y), y32));
    embedding_backward(ids, d_y, d_table);
    embedding_backward(ids, wide(d_y), d_table32);
    EXPECT_TRUE(same_bits(d_table, d_table32));
  });
}

TEST(HalfOperators, SumsAreThoseOfTheWidenedNumbers) {
  for_each_half([](DType dtype, Shape shape) {
    Tensor x = half(shape, dtype, 1);
    EXPECT_EQ(sum_of_squares(x), sum_of_squares(wide(x)));
    EXPECT_TRUE(all_finite(x));
    fill(x, INFINITY);
    EXPECT_FALSE(all_finite(x));
  });
}

}  // namespace
}  // namespace gradus::kernels
