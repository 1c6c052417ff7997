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

using Forward = void (*)(const Tensor&, Tensor&);
using Backward = void (*)(const Tensor&, const Tensor&, Tensor&);
using RefForward = void (*)(const ref::Activation<float>&);
using RefBackward = void (*)(const ref::ActivationBackward<float>&);
struct ElementwiseCase {
  const char* name;
  Forward forward;
  Backward backward;
  RefForward ref_forward;
  RefBackward ref_backward;
};
const ElementwiseCase kElementwise[] = {
    {"relu", relu, relu_backward, ref::relu<float>, ref::relu_backward<float>},
    {"tanh", tanh, tanh_backward, ref::tanh<float>, ref::tanh_backward<float>},
};

TEST(Activation, VectorKernelsEqualTheReferenceBitForBit) {
  for_each_isa([] {
    for (const ElementwiseCase& c : kElementwise) {
      for (const int64_t n : {0, 1, 2, 7, 31, 64, 257, 40000}) {
        SCOPED_TRACE(c.name);
        const Tensor x = random_tensor({n}, DType::f32, 1, 3), d_y = random_tensor({n}, DType::f32, 2);
        Tensor y = Tensor::zeros({n}), d_x = y.clone(), y_ref = y.clone(), d_x_ref = y.clone();
        c.forward(x, y);
        c.backward(y, d_y, d_x);
        c.ref_forward({.x = x.data<float>(), .n = n, .y = y_ref.data<float>()});
        c.ref_backward({.y = y.data<float>(), .d_y = d_y.data<float>(), .n = n, .d_x = d_x_ref.data<float>()});
        EXPECT_TRUE(same_bits(y, y_ref));
        EXPECT_TRUE(same_bits(d_x, d_x_ref));
      }
    }
  });
}

TEST(Activation, GradientsEqualCentralDifferences) {
  for (const ElementwiseCase& c : kElementwise) {
    SCOPED_TRACE(c.name);
    Tensor x = random_tensor({23}, DType::f64, 1, 2);
    const Tensor w = random_tensor({23}, DType::f64, 3);
    Tensor y = Tensor::empty({23}, DType::f64), d_x = y.clone();
    c.forward(x, y);
    c.backward(y, w, d_x);
    expect_gradient(x, d_x, [&] {
      c.forward(x, y);
      return weighted_sum(y, w);
    });
  }
}

TEST(Tanh, IsTheLibrarysWithinAFewUnitsInTheLastPlace) {
  for_each_isa([] {
    for (const float scale : {1e-20f, 1e-4f, 1.0f, 3.0f, 10.0f}) {
      const Tensor x = random_tensor({1000}, DType::f32, 4, scale);
      Tensor y = Tensor::zeros({1000});
      tanh(x, y);
      for (int64_t i = 0; i < 1000; ++i) {
        const double exact = std::tanh(static_cast<double>(x.data<float>()[i]));
        EXPECT_LE(std::abs(y.data<float>()[i]), 1.0f);
        EXPECT_NEAR(y.data<float>()[i], exact, 7 * std::ldexp(1.0, std::ilogb(exact) - 23));
      }
    }
  });
}

TEST(Activation, OfExtremesSaturatesAndNaNStays) {
  const float values[] = {-1e30f, -0.0f, 0.0f, 1e30f, std::nanf("")};
  const Tensor x = Tensor::from<float>(values, {5});
  Tensor y = Tensor::zeros({5});
  for_each_isa([&] {
    tanh(x, y);
    EXPECT_EQ(y.data<float>()[0], -1);
    EXPECT_EQ(y.data<float>()[3], 1);
    EXPECT_TRUE(std::isnan(y.data<float>()[4]));
    relu(x, y);
    EXPECT_EQ(y.data<float>()[0], 0);
    EXPECT_EQ(y.data<float>()[3], 1e30f);
    EXPECT_TRUE(std::isnan(y.data<float>()[4]));
  });
}

}  // namespace
}  // namespace gradus::kernels
