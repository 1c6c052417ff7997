#include "gradus/autograd/tape.h"

#include "tests/autograd/operator_case.h"

namespace gradus::autograd {
namespace {

using kernels::random_tensor;
using kernels::same_bits;

TEST(Tape, ConstantsReceiveNoGradient) {
  Tape tape;
  const Var x = tape.constant(random_tensor({3}, DType::f64, 1));
  const Var y = tape.emit(random_tensor({3}, DType::f64, 2), true);
  const std::vector<double> w = {1, 2, 3};
  tape.backward(weighted_sum(add(x, y), w));
  EXPECT_FALSE(tape.grad(x).defined());
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(tape.grad(y).data<double>()[i], w[i]);
}

TEST(Tape, AConstantInputOfLinearStillGivesTheWeightItsGradient) {
  Tape tape;
  Parameter weight = random_parameter({2, 3}, DType::f64, 1);
  const std::vector<double> ones(2, 1.0);
  const Tensor x = random_tensor({1, 3}, DType::f64, 2);
  tape.backward(weighted_sum(linear(tape.constant(x), weight), ones));
  EXPECT_TRUE(same_bits(weight.grad.rows(0, 1), x));
  EXPECT_TRUE(same_bits(weight.grad.rows(1, 2), x));
}

TEST(Tape, ParameterGradientsAddUpOverPasses) {
  Tape tape;
  Parameter table = random_parameter({2, 3}, DType::f32, 1);
  const std::vector<int32_t> ids = {1};
  const std::vector<double> w = {1, 2, 4};
  for (int pass = 1; pass <= 3; ++pass) {
    tape.backward(weighted_sum(embedding(tape, ids, table), w));
    tape.reset();
    for (size_t j = 0; j < 3; ++j) EXPECT_EQ(table.grad.data<float>()[3 + j], static_cast<float>(pass * w[j]));
  }
}

TEST(Tape, SeedScalesEveryGradient) {
  Tape tape;
  const Var x = tape.emit(random_tensor({3}, DType::f32, 1), true);
  const std::vector<double> w = {1, 2, 3};
  tape.backward(weighted_sum(x, w), 1024.0);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(tape.grad(x).data<float>()[i], static_cast<float>(1024 * w[i]));
}

TEST(Tape, BackwardOfMoreThanOneElementIsAnError) {
  Tape tape;
  const Var x = tape.emit(Tensor::zeros({2}), true);
  EXPECT_THROW(tape.backward(x), Error);
}

TEST(Tape, BackwardOfATapeThatDoesNotRecordIsOurOwnBug) {
  Tape tape(Tape::Mode::inference);
  const Var x = tape.emit(Tensor::zeros({1}), true);
  EXPECT_THROW(tape.backward(x), InternalError);
}

TEST(Tape, AnOperatorWhoseResultIsUnusedAddsNothing) {
  Tape tape;
  Parameter weight = random_parameter({2, 3}, DType::f64, 1);
  const Var x = tape.emit(random_tensor({1, 3}, DType::f64, 2), true);
  linear(x, weight);
  const std::vector<double> ones(3, 1.0);
  tape.backward(weighted_sum(x, ones));
  EXPECT_TRUE(same_bits(weight.grad, Tensor::zeros({2, 3}, DType::f64)));
}

// More records than one block of the arena holds, on a tape that is used again.
TEST(Tape, LongChainsKeepTheirRecords) {
  constexpr int kLength = 3000;
  Tape tape;
  const std::vector<double> ones(1, 1.0);
  const Tensor x = Tensor::zeros({1}, DType::f64);
  for (int pass = 0; pass < 2; ++pass) {
    const Var first = tape.emit(x, true);
    Var y = first;
    for (int i = 0; i < kLength; ++i) y = add(y, first);
    tape.backward(weighted_sum(y, ones));
    EXPECT_EQ(tape.grad(first).data<double>()[0], kLength + 1);
    tape.reset();
  }
}

TEST(Tape, ResetGivesTheTensorsBack) {
  Tape tape;
  const Tensor x = random_tensor({100}, DType::f32, 1);
  tape.emit(x, true);
  EXPECT_FALSE(x.is_unique());
  tape.reset();
  EXPECT_TRUE(x.is_unique());
}

}  // namespace
}  // namespace gradus::autograd
