#include "gradus/lm/template/text.h"

#include <algorithm>

namespace gradus::lm::jinja {

Text::Text(std::string_view bytes, Origin origin) : bytes_(bytes) {
  if (!bytes.empty()) runs_.push_back({bytes.size(), origin});
}

void Text::append(const Text& other) {
  const std::size_t shift = size();
  for (std::size_t i = 0; i < other.runs_.size(); ++i) {
    const Run run = {other.runs_[i].end + shift, other.runs_[i].origin};
    if (!runs_.empty() && runs_.back().origin == run.origin) {
      runs_.back().end = run.end;
    } else {
      runs_.push_back(run);
    }
  }
  bytes_ += other.bytes_;
}

Text Text::substr(std::size_t begin, std::size_t end) const {
  Text out;
  end = std::min(end, size());
  if (begin >= end) return out;
  out.bytes_ = bytes_.substr(begin, end - begin);
  auto run =
      std::upper_bound(runs_.begin(), runs_.end(), begin, [](std::size_t at, const Run& r) { return at < r.end; });
  for (; run != runs_.end(); ++run) {
    out.runs_.push_back({std::min(run->end, end) - begin, run->origin});
    if (run->end >= end) break;
  }
  return out;
}

Origin Text::origin_at(std::size_t byte) const {
  const auto run =
      std::upper_bound(runs_.begin(), runs_.end(), byte, [](std::size_t at, const Run& r) { return at < r.end; });
  return run == runs_.end() ? kTemplate : run->origin;
}

}  // namespace gradus::lm::jinja
