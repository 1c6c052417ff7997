#include "gradus/optim/gradients.h"

#include <cmath>
#include <limits>

#include "tests/kernels/grid.h"

namespace gradus::optim {
namespace {

using autograd::Parameter;
using kernels::random_tensor;
using kernels::same_bits;

Parameter parameter(Shape shape, uint64_t stream) {
  return {"p", Tensor::zeros(shape), random_tensor(shape, DType::f32, stream), {}};
}

TEST(GlobalGradientNorm, IsThatOfAllGradientsTogether) {
  Parameter a = parameter({300, 40}, 1), b = parameter({7}, 2);
  Parameter* const both[] = {&a, &b};
  long double sum = 0;
  for (const Parameter* p : both) {
    for (const float g : p->grad.span<float>()) sum += static_cast<long double>(g) * g;
  }
  const auto want = static_cast<double>(std::sqrt(sum));
  EXPECT_NEAR(global_gradient_norm(both), want, 1e-12 * want);
}

TEST(GlobalGradientNorm, ThreadCountChangesNoBit) {
  Parameter a = parameter({300, 400}, 1), b = parameter({7}, 2);
  Parameter* const both[] = {&a, &b};
  set_pool_threads(1);
  const double want = global_gradient_norm(both);
  kernels::for_1_2_3_threads([&] { EXPECT_EQ(global_gradient_norm(both), want); });
}

TEST(GlobalGradientNorm, ANonFiniteGradientIsSeen) {
  Parameter a = parameter({50}, 1);
  Parameter* const one[] = {&a};
  a.grad.data<float>()[17] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(global_gradient_norm(one)));
  a.grad.data<float>()[17] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isinf(global_gradient_norm(one)));
}

TEST(ClipFactor, BringsTheNormDownAndNeverUp) {
  EXPECT_EQ(clip_factor(4.0, 1.0), 0.25);
  EXPECT_EQ(clip_factor(1.0, 1.0), 1.0);
  EXPECT_EQ(clip_factor(0.5, 1.0), 1.0);
  EXPECT_EQ(clip_factor(0.0, 1.0), 1.0);
  EXPECT_EQ(clip_factor(1e9, 0.0), 1.0);  // off
}

TEST(ZeroGradients, ClearsAll) {
  Parameter a = parameter({5, 5}, 1);
  Parameter* const one[] = {&a};
  zero_gradients(one);
  EXPECT_TRUE(same_bits(a.grad, Tensor::zeros({5, 5})));
}

Tensor sum(const Tensor& a, const Tensor& b) {
  Tensor c = a.clone();
  for (int64_t i = 0; i < c.numel(); ++i) c.data<float>()[i] += b.data<float>()[i];
  return c;
}

// Neighbours in pairs, then the pairs in pairs, ...; one that is left over waits for the next round.
Tensor balanced_sum(std::vector<Tensor> x) {
  while (x.size() > 1) {
    std::vector<Tensor> next;
    for (size_t i = 0; i + 1 < x.size(); i += 2) next.push_back(sum(x[i], x[i + 1]));
    if (x.size() % 2 == 1) next.push_back(x.back());
    x = std::move(next);
  }
  return x[0];
}

struct Shards {
  Parameter a = parameter({3, 17}, 1), b = parameter({5}, 2);
  std::vector<Parameter*> all = {&a, &b};

  // What the backward pass of shard s adds to each gradient.
  static Tensor of(const Parameter& p, int64_t s) {
    return random_tensor(p.grad.shape(), DType::f32, static_cast<uint64_t>(100 * s + p.grad.numel()));
  }
  void accumulate(int64_t s) {
    for (Parameter* p : all) p->grad = sum(p->grad, of(*p, s));
  }
  void run(ShardTree& tree, int64_t shards) {
    zero_gradients(all);
    for (int64_t s = 0; s < shards; ++s) {
      accumulate(s);
      if (s + 1 < shards) tree.add();
    }
    for (size_t i = 0; i < all.size(); ++i) tree.finish(i);
    tree.reset();
  }
};

TEST(ShardTree, IsTheBalancedTreeBitForBit) {
  for (int64_t shards = 1; shards <= 9; ++shards) {
    Shards x;
    ShardTree tree(x.all);
    for (int round = 0; round < 2; ++round) {  // a tree is used again
      x.run(tree, shards);
      for (const Parameter* p : x.all) {
        std::vector<Tensor> parts;
        for (int64_t s = 0; s < shards; ++s) parts.push_back(sum(Tensor::zeros(p->grad.shape()), Shards::of(*p, s)));
        EXPECT_TRUE(same_bits(p->grad, balanced_sum(parts))) << shards << " shards";
      }
    }
  }
}

TEST(ShardTree, OfFourShardsAddsPairs) {
  Shards x;
  ShardTree tree(x.all);
  x.run(tree, 4);
  const auto g = [&](int64_t s) { return Shards::of(x.a, s); };
  EXPECT_TRUE(same_bits(x.a.grad, sum(sum(g(0), g(1)), sum(g(2), g(3)))));
  EXPECT_FALSE(same_bits(x.a.grad, sum(sum(sum(g(0), g(1)), g(2)), g(3))));  // a chain would have other bits
}

TEST(ShardTree, MakesNoStorageInTheSteadyState) {
  Shards x;
  ShardTree tree(x.all);
  x.run(tree, 5);
  const int64_t before = tensor_storages_created();
  x.run(tree, 5);
  EXPECT_EQ(tensor_storages_created(), before);
}

TEST(ShardTree, ResetForgetsAnUnfinishedSum) {
  Shards x;
  ShardTree tree(x.all);
  x.accumulate(7);
  tree.add();  // then the step failed
  tree.reset();
  x.run(tree, 1);
  EXPECT_TRUE(same_bits(x.a.grad, sum(Tensor::zeros(x.a.grad.shape()), Shards::of(x.a, 0))));
}

}  // namespace
}  // namespace gradus::optim
