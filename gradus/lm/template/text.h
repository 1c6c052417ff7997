// A text that knows for each byte where it came from: from the template itself or from what it was given. So nothing
// that a template does to a user's text makes it look like the template's own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::lm::jinja {

// Where bytes came from: the template (and the tokenizer's own tokens), message i for i >= 0, or another input.
using Origin = int32_t;
inline constexpr Origin kTemplate = -1;
inline constexpr Origin kOtherInput = -2;

class Text {
 public:
  Text() = default;
  Text(std::string_view bytes, Origin origin = kTemplate);

  const std::string& bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  void append(const Text& other);
  void append(std::string_view bytes, Origin origin = kTemplate) { append(Text(bytes, origin)); }
  Text substr(std::size_t begin, std::size_t end) const;

  // Stretches of one origin, in order, covering all.
  struct Run {
    std::size_t end = 0;
    Origin origin = kTemplate;
  };
  const std::vector<Run>& runs() const { return runs_; }
  Origin origin_at(std::size_t byte) const;

  bool operator==(const Text& other) const { return bytes_ == other.bytes_; }

 private:
  std::string bytes_;
  std::vector<Run> runs_;
};

}  // namespace gradus::lm::jinja
