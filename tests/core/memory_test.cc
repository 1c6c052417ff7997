#include "gradus/core/memory.h"

#include <gtest/gtest.h>

#include "gradus/core/tensor.h"
#include "tests/core/expect_error.h"

namespace gradus {
namespace {

TEST(Memory, SomeIsAvailable) {
  EXPECT_GT(available_memory(), 1 << 20);
}

TEST(FileMemory, IsZeroThenWhatIsWrittenAndLeavesNoFile) {
  const auto directory = std::filesystem::path(::testing::TempDir()) / "file_memory_test";
  std::filesystem::create_directories(directory);
  FileMemory moved;
  {
    FileMemory memory(directory, 100000);
    EXPECT_TRUE(std::filesystem::is_empty(directory));
    Tensor t = Tensor::over(memory.data(), {1000, 25});
    EXPECT_EQ(t.data<float>()[24999], 0);
    t.data<float>()[24999] = 7;
    const Tensor rows = t.rows(999, 1000);
    t = Tensor();
    EXPECT_EQ(rows.data<float>()[24], 7);
    moved = std::move(memory);
  }
  EXPECT_EQ(Tensor::over(moved.data(), {1000, 25}).data<float>()[24999], 7);
  std::filesystem::remove_all(directory);
}

TEST(FileMemory, RefusesADirectoryThatIsNotThereAndADiskThatIsFull) {
  EXPECT_GRADUS_ERROR(FileMemory("/nowhere", 1), not_found, "create a file in /nowhere");
  EXPECT_GRADUS_ERROR(FileMemory(::testing::TempDir(), int64_t{1} << 60), io, "bytes");
}

}  // namespace
}  // namespace gradus
