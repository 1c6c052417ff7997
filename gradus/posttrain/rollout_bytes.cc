#include "gradus/posttrain/rollout_bytes.h"

#include <cstring>
#include <type_traits>

#include "gradus/core/error.h"

namespace gradus::posttrain {

namespace {

class Writer {
 public:
  template <class T>
  void value(const T& x) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes.append(reinterpret_cast<const char*>(&x), sizeof x);
  }
  template <class Range>
  void range(const Range& x) {
    value(static_cast<uint64_t>(x.size()));
    bytes.append(reinterpret_cast<const char*>(x.data()), x.size() * sizeof(*x.data()));
  }

  std::string bytes;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <class T>
  T value() {
    T x;
    std::memcpy(&x, take(sizeof x), sizeof x);
    return x;
  }
  template <class Range>
  Range range() {
    using T = typename Range::value_type;
    const auto n = value<uint64_t>();
    if (n > bytes_.size() / sizeof(T)) too_short();
    Range x(n, T{});
    if (n > 0) std::memcpy(x.data(), take(n * sizeof(T)), n * sizeof(T));
    return x;
  }
  bool empty() const { return bytes_.empty(); }

 private:
  const char* take(size_t n) {
    if (n > bytes_.size()) too_short();
    const char* at = bytes_.data();
    bytes_.remove_prefix(n);
    return at;
  }
  [[noreturn]] static void too_short() {
    fail(ErrorCode::corrupt, "rollouts: the bytes end too soon; another rank runs another version");
  }

  std::string_view bytes_;
};

}  // namespace

std::string to_bytes(std::span<const Rollout> rollouts) {
  Writer w;
  w.value(static_cast<uint64_t>(rollouts.size()));
  for (const Rollout& r : rollouts) {
    w.value(static_cast<uint64_t>(r.problem));
    w.value(r.prompt_tokens);
    w.range(r.tokens);
    w.range(r.log_probs);
    w.range(r.answer);
    w.value(static_cast<uint8_t>(r.ended));
    w.value(r.reward.value);
    w.value(static_cast<uint8_t>(r.reward.correct));
    w.value(static_cast<uint64_t>(r.reward.components.size()));
    for (const auto& [name, value] : r.reward.components) {
      w.range(name);
      w.value(value);
    }
  }
  return std::move(w.bytes);
}

std::vector<Rollout> parse_rollouts(std::string_view bytes) {
  Reader in(bytes);
  std::vector<Rollout> rollouts;
  for (auto n = in.value<uint64_t>(); n > 0; --n) {
    Rollout& r = rollouts.emplace_back();
    r.problem = in.value<uint64_t>();
    r.prompt_tokens = in.value<int64_t>();
    r.tokens = in.range<std::vector<int32_t>>();
    r.log_probs = in.range<std::vector<float>>();
    r.answer = in.range<std::string>();
    r.ended = in.value<uint8_t>() != 0;
    r.reward.value = in.value<double>();
    r.reward.correct = in.value<uint8_t>() != 0;
    for (auto parts = in.value<uint64_t>(); parts > 0; --parts) {
      auto name = in.range<std::string>();
      const auto value = in.value<double>();
      r.reward.components.emplace_back(std::move(name), value);
    }
  }
  if (!in.empty()) fail(ErrorCode::corrupt, "rollouts: bytes follow the last one; another rank runs another version");
  return rollouts;
}

}  // namespace gradus::posttrain
