// Linked where CUDA is not built: every request for the device is one clear error.
#include <cstddef>

#include "gradus/core/error.h"

namespace gradus::cuda {

void* allocate(int index, std::size_t) {
  fail(ErrorCode::unsupported, "device: cuda:{} was asked for, but this build has no CUDA; use device=cpu", index);
}

void deallocate(int, void*) noexcept {}

}  // namespace gradus::cuda
