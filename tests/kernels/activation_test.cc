#include "gradus/kernels/activation.h"

#include "gradus/kernels/ref/activation.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

TEST(SwiGlu, VectorKernelsEqualTheReferenceBitForBit) {
  for_each_isa([] {
    for (const int64_t n : {0, 1, 2, 7, 31, 64, 257, 40000}) {
      const Tensor gate = random_tensor({n}, DType::f32, 1, 20), up = random_tensor({n}, DType::f32, 2);
      const Tensor d_y = random_tensor({n}, DType::f32, 3);
      Tensor y = Tensor::zeros({n}), d_gate = y.clone(), d_up = y.clone();
      swiglu(gate, up, y);
      swiglu_backward(gate, up, d_y, d_gate, d_up);
      Tensor y_ref = Tensor::zeros({n}), d_gate_ref = y_ref.clone(), d_up_ref = y_ref.clone();
      ref::swiglu<float>({.gate = gate.data<float>(), .up = up.data<float>(), .n = n, .y = y_ref.data<float>()});
      ref::swiglu_backward<float>({.gate = gate.data<float>(),
                                   .up = up.data<float>(),
                                   .d_y = d_y.data<float>(),
                                   .n = n,
                                   .d_gate = d_gate_ref.data<float>(),
                                   .d_up = d_up_ref.data<float>()});
      EXPECT_TRUE(same_bits(y, y_ref));
      EXPECT_TRUE(same_bits(d_gate, d_gate_ref));
      EXPECT_TRUE(same_bits(d_up, d_up_ref));
    }
  });
}

TEST(SwiGlu, EqualsThePlainFormulaInDouble) {
  const Tensor gate = random_tensor({64}, DType::f64, 1, 5), up = random_tensor({64}, DType::f64, 2);
  Tensor y = Tensor::empty({64}, DType::f64);
  swiglu(gate, up, y);
  for (int64_t i = 0; i < 64; ++i) {
    const double g = gate.data<double>()[i];
    EXPECT_DOUBLE_EQ(y.data<double>()[i], g / (1 + std::exp(-g)) * up.data<double>()[i]);
  }
}

TEST(SwiGlu, GradientsEqualCentralDifferences) {
  Tensor gate = random_tensor({23}, DType::f64, 1, 2), up = random_tensor({23}, DType::f64, 2);
  const Tensor w = random_tensor({23}, DType::f64, 3);
  Tensor d_gate = Tensor::empty({23}, DType::f64), d_up = d_gate.clone(), y = d_gate.clone();
  swiglu_backward(gate, up, w, d_gate, d_up);
  const auto loss = [&] {
    swiglu(gate, up, y);
    return weighted_sum(y, w);
  };
  expect_gradient(gate, d_gate, loss);
  expect_gradient(up, d_up, loss);
}

TEST(SwiGlu, SaturatesWithoutNaN) {
  const float gates[] = {-1e30f, -200, 200, 1e30f};
  const Tensor gate = Tensor::from<float>(gates, {4});
  Tensor up = Tensor::zeros({4}), y = Tensor::zeros({4});
  for (float& u : up.span<float>()) u = 1;
  for_each_isa([&] {
    swiglu(gate, up, y);
    EXPECT_EQ(y.data<float>()[0], 0);
    EXPECT_EQ(y.data<float>()[1], 0);
    EXPECT_EQ(y.data<float>()[2], 200);
    EXPECT_EQ(y.data<float>()[3], 1e30f);
  });
}

TEST(SwiGlu, OutputsMayBeInputs) {
  const Tensor gate = random_tensor({100}, DType::f32, 1), up = random_tensor({100}, DType::f32, 2);
  const Tensor d_y = random_tensor({100}, DType::f32, 3);
  Tensor d_gate = Tensor::zeros({100}), d_up = Tensor::zeros({100}), gate2 = gate.clone(), up2 = up.clone();
  swiglu_backward(gate, up, d_y, d_gate, d_up);
  swiglu_backward(gate2, up2, d_y, gate2, up2);
  EXPECT_TRUE(same_bits(gate2, d_gate));
  EXPECT_TRUE(same_bits(up2, d_up));
}

TEST(SwiGlu, ShapeMismatchIsAnInvalidArgument) {
  Tensor y = Tensor::zeros({4});
  EXPECT_EQ(error_code_of([&] { swiglu(Tensor::zeros({4}), Tensor::zeros({5}), y); }), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace gradus::kernels
