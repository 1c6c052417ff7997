#include "gradus/core/tensor.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/core/expect_error.h"

namespace gradus {
namespace {

Tensor counting(Shape shape) {
  Tensor t = Tensor::empty(shape);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = static_cast<float>(i);
  return t;
}

TEST(Shape, CountsElementsAndPrints) {
  EXPECT_EQ(Shape({4, 8}).numel(), 32);
  EXPECT_EQ(Shape().numel(), 1);
  EXPECT_EQ(Shape({3, 0, 5}).numel(), 0);
  EXPECT_EQ((Shape{2, 3, 4})[-1], 4);
  EXPECT_EQ(to_string(Shape{4, 8}), "[4, 8]");
  EXPECT_EQ(to_string(Shape()), "[]");
}

TEST(Shape, RefusesNegativeAndTooManyDimensions) {
  EXPECT_GRADUS_ERROR((Shape{2, -1}), invalid_argument, "dimension 1 is -1");
  EXPECT_GRADUS_ERROR((Shape{1, 1, 1, 1, 1}), invalid_argument, "5 dimensions");
}

TEST(Tensor, DefaultIsUndefined) {
  const Tensor t;
  EXPECT_FALSE(t.defined());
  EXPECT_FALSE(t.clone().defined());
}

TEST(Tensor, StorageIsAlignedTo64Bytes) {
  for (int64_t n : {0, 1, 7, 64, 65, 1000, 4097}) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(Tensor::empty({n}).raw()) % 64, 0u);
  }
}

TEST(Tensor, CopySharesElementsAndCloneDoesNot) {
  Tensor a = counting({2, 3});
  Tensor shared = a;
  const Tensor own = a.clone();
  a.data<float>()[0] = 42;
  EXPECT_EQ(shared.data<float>()[0], 42);
  EXPECT_EQ(own.data<float>()[0], 0);
}

TEST(Tensor, ElementsLiveUntilTheLastShareGoes) {
  Tensor row;
  {
    const Tensor a = counting({4, 2});
    row = a.rows(3, 4);
  }
  const Tensor reuser = Tensor::zeros({4, 2});  // would take a's block, had it been freed
  EXPECT_EQ(row.data<float>()[1], 7);
}

TEST(Tensor, RowsAndViewNameTheSameElements) {
  const Tensor a = counting({4, 2, 3});
  const Tensor b = a.rows(1, 3);
  EXPECT_EQ(b.shape(), (Shape{2, 2, 3}));
  EXPECT_EQ(b.data<float>()[0], 6);
  EXPECT_EQ(a.view({8, 3}).data<float>() + 6, b.data<float>());
  EXPECT_EQ(a.rows(4, 4).numel(), 0);
  EXPECT_GRADUS_ERROR(a.view({5, 5}), invalid_argument, "24 elements");
  EXPECT_GRADUS_ERROR(a.rows(3, 5), invalid_argument, "[3, 5)");
}

TEST(Tensor, TypedAccessChecksTheDtype) {
  const Tensor t = Tensor::zeros({3}, DType::i32);
  EXPECT_EQ(t.span<int32_t>()[2], 0);
  EXPECT_GRADUS_ERROR(t.data<float>(), invalid_argument, "elements are i32 but were asked for as f32");
}

TEST(Tensor, FromTakesValuesInRowOrder) {
  const std::vector<int64_t> values{1, 2, 3, 4, 5, 6};
  const Tensor t = Tensor::from<int64_t>(values, {3, 2});
  EXPECT_EQ(t.dtype(), DType::i64);
  EXPECT_EQ(t.rows(2, 3).data<int64_t>()[0], 5);
  EXPECT_GRADUS_ERROR((Tensor::from<int64_t>(values, {4, 2})), invalid_argument, "6 values do not fill");
}

TEST(Tensor, CopyFromNeedsTheSameShapeAndDtype) {
  Tensor a = Tensor::zeros({2, 2});
  a.copy_from(counting({2, 2}));
  EXPECT_EQ(a.data<float>()[3], 3);
  EXPECT_GRADUS_ERROR(a.copy_from(counting({4})), invalid_argument, "[2, 2]");
}

TEST(TensorStorage, IsRecycledInASteadyLoop) {
  const auto step = [] {
    std::vector<Tensor> live;
    for (int64_t n = 1; n < 5000; n += 37) live.push_back(Tensor::empty({n}, n % 2 ? DType::f32 : DType::f64));
  };
  step();
  const int64_t created = tensor_storages_created();
  for (int i = 0; i < 10; ++i) step();
  EXPECT_EQ(tensor_storages_created(), created);
}

TEST(TensorStorage, BlocksOfEverySizeHoldTheirElements) {
  for (std::size_t bytes = 1; bytes < 20000; bytes += bytes < 600 ? 1 : 97) {
    Tensor t = Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8);
    t.fill_zero();  // AddressSanitizer sees a block that is too small
    t.data<uint8_t>()[bytes - 1] = 1;
  }
}

TEST(TensorStorage, TrimGivesUnusedBlocksBack) {
  const Tensor kept = counting({1000});
  { const Tensor dropped = Tensor::empty({123456}); }
  trim_tensor_storage();
  const int64_t created = tensor_storages_created();
  const Tensor again = Tensor::empty({123456});
  EXPECT_EQ(tensor_storages_created(), created + 1);
  EXPECT_EQ(kept.data<float>()[999], 999);
}

TEST(Device, CudaSaysThatTheBuildLacksIt) {
  const Device cuda{DeviceType::cuda, 1};
  EXPECT_EQ(name(cuda), "cuda:1");
  EXPECT_EQ(name(Device{}), "cpu");
  EXPECT_GRADUS_ERROR(Tensor::empty({2}, DType::f32, cuda), unsupported, "no CUDA");
}

TEST(Device, MemoryThatIsNotThereIsExhausted) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's allocator ends the process instead";
#endif
  EXPECT_GRADUS_ERROR(Tensor::empty({int64_t{1} << 46}, DType::u8), exhausted, "no memory");
}

}  // namespace
}  // namespace gradus
