// A hostile torch file: read, corrupt or unsupported, and no more is read than the file's size allows.
#include <span>

#include "fuzz/fuzz.h"
#include "gradus/core/pickle.h"
#include "gradus/core/torch_file.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gradus;
  const auto bytes = std::as_bytes(std::span(data, size));
  fuzz::expect_only({ErrorCode::corrupt, ErrorCode::unsupported}, [&] {
    size_t total = 0;
    for (const auto& [name, tensor] : parse_torch_file(bytes, "fuzz")) {
      fuzz::expect(tensor.defined(), "every name has a tensor");
      total += tensor.bytes();
    }
    fuzz::expect(total <= 8 * size, "tensors are at most eight times the file");
  });
  // Changes of an archive seldom leave a pickle that is found.
  fuzz::expect_only({ErrorCode::corrupt, ErrorCode::unsupported}, [&] {
    fuzz::expect(read_state_dict_pickle(bytes, "fuzz").size() <= size, "a tensor takes more than a byte");
  });
  return 0;
}
