// A hostile model.safetensors: read or corrupt, and what was read accounts for every byte of the data.
#include <span>

#include "fuzz/fuzz.h"
#include "gradus/core/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gradus;
  fuzz::expect_only({ErrorCode::corrupt}, [&] {
    const SafetensorsFile file = parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz");
    size_t total = 8 + data[0] + 256u * data[1] + 65536u * data[2];  // the header; inputs are far smaller than 2^24
    for (const auto& [name, tensor] : file.tensors) {
      fuzz::expect(file.find(name) != nullptr, "a tensor is found by its name");
      total += tensor.bytes();
    }
    fuzz::expect(total == size, "header and tensors are the whole file");
  });
  return 0;
}
