// What loading a model costs in resident memory, pages of the mapped file included.
#include <gtest/gtest.h>
#include <malloc.h>

#include <fstream>
#include <string>

#include "gradus/core/thread_pool.h"
#include "tests/core/temporary_folder.h"
#include "tests/lm/family_model.h"

namespace gradus::lm {
namespace {

// A line of /proc/self/status in bytes.
int64_t status(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return std::stoll(line.substr(key.size() + 1)) * 1024;
  }
  return -1;
}

// From here on VmHWM is the peak since this call.
bool reset_peak() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return file.good();
}

// 80 MB in bf16, most of it in matrices that are much larger than what is converted at once.
nn::TransformerConfig middle_sized() {
  return {.layers = 6,
          .width = 640,
          .heads = 10,
          .kv_heads = 2,
          .ffn_width = 2560,
          .n_vocab = 8000,
          .max_positions = 131072,
          .tie_embeddings = true,
          .qk_norm = true};
}

void write_folder(const std::filesystem::path& folder, DType dtype) {
  write_file_atomically(folder / "config.json", config_json(middle_sized(), 256, 256, dtype));
  write_file_atomically(folder / "tokenizer.json", tokenizer_json(byte_tokenizer()));
  std::vector<StoredTensor> tensors;
  const auto source = [&](const std::string& name, const Shape& shape, DType) {
    tensors.push_back({name, Tensor::zeros(shape, dtype), dtype});
    return kernels::converted(tensors.back().values, DType::f32);
  };
  const nn::Transformer model(middle_sized(), {.weights = source});
  write_weight_files(folder, tensors, kShardBytes);
}

// Bytes of the weights, all read.
int64_t read_all(const Model& model) {
  int64_t n = 0;
  volatile unsigned char sink = 0;
  for (const nn::Parameter* p : model.transformer().parameters()) {
    const auto* bytes = static_cast<const unsigned char*>(p->value.raw());
    for (size_t i = 0; i < p->value.bytes(); i += 1024) sink = sink + bytes[i];
    n += static_cast<int64_t>(p->value.bytes());
  }
  return n;
}

class LoadMemory : public ::testing::TestWithParam<std::pair<DType, nn::Precision>> {};

TEST_P(LoadMemory, IsNoMoreThanTheWeightsAndFivePercent) {
  const auto [dtype, precision] = GetParam();
  const gradus::testing::TemporaryFolder folder;
  write_folder(folder.path(), dtype);
  trim_tensor_storage();
  ::malloc_trim(0);  // what the heap keeps would be used again, unseen
  pool();            // its threads are no part of a model
  if (!reset_peak()) GTEST_SKIP() << "the system does not reset a peak";
  const int64_t before = status("VmRSS:");
  const Model model = load(folder.path(), {.precision = precision, .read_only = true});
  const int64_t weights = read_all(model), grown = status("VmHWM:") - before;
  RecordProperty("percent", static_cast<int>(100 * grown / weights));
  EXPECT_GE(grown, weights / 2);  // the weights were read, or nothing was measured
  EXPECT_LE(grown, weights + weights / 20);
}

INSTANTIATE_TEST_SUITE_P(Formats, LoadMemory,
                         ::testing::Values(std::pair{DType::bf16, nn::Precision::bf16},
                                           std::pair{DType::f16, nn::Precision::fp16},
                                           std::pair{DType::f32, nn::Precision::fp32},
                                           std::pair{DType::f32, nn::Precision::bf16},
                                           std::pair{DType::bf16, nn::Precision::fp32}));

}  // namespace
}  // namespace gradus::lm
