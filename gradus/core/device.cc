#include "gradus/core/device.h"

#include <sys/mman.h>

#include <cstdlib>

#include "gradus/core/error.h"

namespace gradus {

namespace cuda {  // core/cuda_stub.cc, or the real thing where CUDA is built
void* allocate(int index, std::size_t bytes);
void deallocate(int index, void* address) noexcept;
}  // namespace cuda

namespace {

// A page that one entry of the page table maps: 512 times as much as the usual one, so that reading a matrix seldom
// waits for the table.
constexpr std::size_t kLargePage = std::size_t{2} << 20;

// Asks for large pages; the system may decline.
void prefer_large_pages([[maybe_unused]] void* address, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  ::madvise(address, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);
#endif
}

}  // namespace

std::string name(Device device) {
  return device.type == DeviceType::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

void* device_allocate(Device device, std::size_t bytes) {
  if (device.type == DeviceType::cuda) return cuda::allocate(device.index, bytes);
  const std::size_t alignment = bytes < kLargePage ? 64 : kLargePage;
  void* address = nullptr;
  if (::posix_memalign(&address, alignment, (bytes + 63) / 64 * 64) != 0)
    fail(ErrorCode::exhausted, "tensor: no memory for {} bytes; make the batch or the model smaller", bytes);
  if (bytes >= kLargePage) prefer_large_pages(address, bytes);
  return address;
}

void device_free(Device device, void* address) noexcept {
  if (device.type == DeviceType::cuda) return cuda::deallocate(device.index, address);
  std::free(address);
}

}  // namespace gradus
