#include "gradus/core/device.h"

#include <cstdlib>

#include "gradus/core/error.h"

namespace gradus {

namespace cuda {  // core/cuda_stub.cc, or the real thing where CUDA is built
void* allocate(int index, std::size_t bytes);
void deallocate(int index, void* address) noexcept;
}  // namespace cuda

std::string name(Device device) {
  return device.type == DeviceType::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

void* device_allocate(Device device, std::size_t bytes) {
  if (device.type == DeviceType::cuda) return cuda::allocate(device.index, bytes);
  void* address = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (address == nullptr)
    fail(ErrorCode::exhausted, "tensor: no memory for {} bytes; make the batch or the model smaller", bytes);
  return address;
}

void device_free(Device device, void* address) noexcept {
  if (device.type == DeviceType::cuda) return cuda::deallocate(device.index, address);
  std::free(address);
}

}  // namespace gradus
