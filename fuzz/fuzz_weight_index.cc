// A hostile model.safetensors.index.json: read or corrupt, and every file that it names lies in the folder itself.
#include "fuzz/fuzz.h"
#include "gradus/lm/weight_files.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gradus;
  fuzz::expect_only({ErrorCode::corrupt}, [&] {
    for (const auto& [tensor, file] : lm::parse_weight_index(fuzz::as_text(data, size), "fuzz")) {
      const std::filesystem::path path = std::filesystem::path("folder") / file;
      fuzz::expect(path.lexically_normal() == path && path.parent_path() == "folder", "a file lies in the folder");
      fuzz::expect(file.find('\0') == file.npos && path.extension() == ".safetensors", "a file is one of weights");
    }
  });
  return 0;
}
