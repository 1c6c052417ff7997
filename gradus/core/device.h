// Where a tensor's elements live. Only the CPU computes today; a tensor carries its device so that every kernel can
// check it, and asking for another device is a clear error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gradus {

enum class DeviceType : uint8_t { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  int8_t index = 0;
  bool operator==(const Device&) const = default;
};

std::string name(Device device);  // "cpu", "cuda:0"

// Memory of one device, aligned to 64 bytes. Throws unsupported where the build lacks the device, exhausted when memory
// is.
void* device_allocate(Device device, std::size_t bytes);
void device_free(Device device, void* address) noexcept;

}  // namespace gradus
