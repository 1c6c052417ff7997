// The hash that decides which problems and which pieces of text are held out.
#pragma once

#include <cstdint>
#include <string_view>

namespace gradus::posttrain {

// FNV-1a 64 of the bytes, mixed by the finaliser of SplitMix64. Part of the format of a run: it never changes.
inline uint64_t content_hash(std::string_view bytes) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : bytes) {
    h ^= static_cast<unsigned char>(c);
    h *= 0x100000001b3u;
  }
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
  return h ^ (h >> 31);
}

}  // namespace gradus::posttrain
