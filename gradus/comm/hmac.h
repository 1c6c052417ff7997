// SHA-256 and the keyed hash made of it, by which ranks prove that they know the job's token without sending it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace gradus::comm {

using Digest = std::array<uint8_t, 32>;

Digest sha256(std::string_view bytes);                               // FIPS 180-4, section 6.2
Digest hmac_sha256(std::string_view key, std::string_view message);  // RFC 2104

// In a time that does not depend on where they differ.
bool equal(const Digest& a, const Digest& b);

}  // namespace gradus::comm
