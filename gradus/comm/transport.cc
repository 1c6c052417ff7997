#include "gradus/comm/transport.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace gradus::comm {

namespace {

constexpr std::array<std::string_view, kOperations> kNames = {
    "none", "barrier", "broadcast", "gather", "all_gather", "reduce_scatter", "all_reduce", "all_to_all"};

uint64_t mixed(uint64_t hash, uint64_t word) {  // splitmix64's finaliser over a running hash
  uint64_t z = (hash ^ word) + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// The text from "gradus/", "apps/", ... on says enough.
std::string_view last_part(std::string_view path, size_t most) {
  for (const std::string_view room : {"/apps/", "/bench/", "/tests/", "/gradus/"}) {
    if (const size_t at = path.rfind(room); at != path.npos) {
      path.remove_prefix(at + 1);
      break;
    }
  }
  return path.size() <= most ? path : path.substr(path.size() - most);
}

}  // namespace

std::string_view name(Operation operation) {
  return kNames[static_cast<size_t>(operation)];
}

Operation parse_operation(std::string_view word) {
  const auto found = std::ranges::find(kNames, word);
  require(found != kNames.end() && found != kNames.begin(), "there is no operation {}; there are {}", word,
          fmt::join(kNames.begin() + 1, kNames.end(), ", "));
  return static_cast<Operation>(found - kNames.begin());
}

void Call::set_site(const std::source_location& site) {
  const std::string_view path = last_part(site.file_name(), sizeof file - 1);
  std::memset(file, 0, sizeof file);
  std::memcpy(file, path.data(), path.size());
  line = site.line();
}

bool Call::matches(const Call& other) const {
  return sequence == other.sequence && operation == other.operation && op == other.op && dtype == other.dtype &&
         root == other.root && count == other.count && partition == other.partition;
}

uint64_t Call::tag() const {
  const uint64_t kinds = static_cast<uint64_t>(operation) | static_cast<uint64_t>(op) << 8 |
                         static_cast<uint64_t>(dtype) << 16 | static_cast<uint64_t>(static_cast<uint32_t>(root)) << 32;
  const uint64_t hash = mixed(mixed(mixed(sequence, kinds), static_cast<uint64_t>(count)), partition);
  return hash == 0 ? 1 : hash;
}

std::string to_string(const Call& call) {
  std::string text(name(call.operation));
  if (call.operation == Operation::none) return "nothing";
  if (call.operation != Operation::barrier) text += fmt::format(" of {} {}", call.count, gradus::name(call.dtype));
  if (call.operation == Operation::all_reduce || call.operation == Operation::reduce_scatter) {
    text += fmt::format(" ({})", kernels::name(call.op));
  }
  if (call.root >= 0) text += fmt::format(", root {}", call.root);
  return text + fmt::format(", call {} at {}:{}", call.sequence, call.file, call.line);
}

void Transport::run_native(const NativeAlgorithm&, Job&) {
  GRADUS_CHECK(!"a transport with native algorithms runs them");
}

}  // namespace gradus::comm
