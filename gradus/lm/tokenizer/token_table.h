// The two tables that encoding looks into: the id of a token's text, and what a pair of neighbours merges into. Both
// are built once, then only read; open addressing, at most half full.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::lm {

class TokenTable {
 public:
  static constexpr int32_t kNone = -1;

  void reserve(std::size_t n_tokens) {
    std::size_t n = 16;
    while (n < 2 * n_tokens) n *= 2;
    slots_.assign(n, {});
  }

  bool is_empty() const { return slots_.empty(); }

  // Not a text that is there already. Texts in all below 4 GiB.
  void insert(std::string_view text, int32_t id) {
    const uint64_t h = hash(text);
    std::size_t i = h & (slots_.size() - 1);
    while (slots_[i].id != kNone) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = {static_cast<uint32_t>(h >> 32), static_cast<uint32_t>(texts_.size()),
                 static_cast<uint32_t>(text.size()), id};
    texts_ += text;
    longest_ = text.size() > longest_ ? text.size() : longest_;
  }

  int32_t find(std::string_view text) const {
    if (text.size() > longest_ || slots_.empty()) return kNone;
    const uint64_t h = hash(text);
    for (std::size_t i = h & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      const Slot& s = slots_[i];
      if (s.id == kNone) return kNone;
      if (s.tag == static_cast<uint32_t>(h >> 32) && s.size == text.size() &&
          std::memcmp(texts_.data() + s.at, text.data(), text.size()) == 0) {
        return s.id;
      }
    }
  }

 private:
  struct Slot {
    uint32_t tag = 0, at = 0, size = 0;
    int32_t id = kNone;
  };

  // Eight bytes at a time, each multiplied and folded.
  static uint64_t hash(std::string_view text) {
    uint64_t h = 0x9E3779B97F4A7C15u ^ text.size();
    const auto mix = [&](uint64_t x) {
      h = (h ^ x) * 0xD6E8FEB86659FD93u;
      h ^= h >> 32;
    };
    std::size_t at = 0;
    for (; at + 8 <= text.size(); at += 8) {
      uint64_t x = 0;
      std::memcpy(&x, text.data() + at, 8);
      mix(x);
    }
    uint64_t x = 0;
    std::memcpy(&x, text.data() + at, text.size() - at);
    mix(x);
    mix(h >> 29);
    return h;
  }

  std::vector<Slot> slots_;
  std::string texts_;
  std::size_t longest_ = 0;
};

class PairTable {
 public:
  struct Merge {
    uint32_t rank = kNone;  // lower goes first
    int32_t id = 0;         // of what the pair becomes
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  void reserve(std::size_t n_pairs) {
    std::size_t n = 16;
    while (n < 2 * n_pairs) n *= 2;
    slots_.assign(n, {});
  }

  // The last one of a pair counts.
  void insert(int32_t left, int32_t right, Merge merge) { slots_[place(left, right)] = {key(left, right), merge}; }

  Merge find(int32_t left, int32_t right) const { return slots_.empty() ? Merge{} : slots_[place(left, right)].merge; }

 private:
  static constexpr uint64_t kFree = UINT64_MAX;
  struct Slot {
    uint64_t key = kFree;
    Merge merge{};
  };

  static uint64_t key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  std::size_t place(int32_t left, int32_t right) const {
    const uint64_t k = key(left, right);
    uint64_t h = k * 0x9E3779B97F4A7C15u;
    h ^= h >> 29;
    std::size_t i = (h * 0xD6E8FEB86659FD93u >> 20) & (slots_.size() - 1);
    while (slots_[i].key != k && slots_[i].key != kFree) i = (i + 1) & (slots_.size() - 1);
    return i;
  }

  std::vector<Slot> slots_;
};

}  // namespace gradus::lm
