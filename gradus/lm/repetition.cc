#include "gradus/lm/repetition.h"

#include <algorithm>

namespace gradus::lm {

Repetition find_repetition(std::span<const int32_t> text, int64_t shortest, int64_t longest, int64_t most) {
  const auto n = static_cast<int64_t>(text.size());
  const auto at = [&](int64_t i) { return text[static_cast<size_t>(i)]; };
  Repetition best;
  for (int64_t end = n - 1; end > best.length; --end) {  // the place is text[end - length, end)
    int64_t length = 0;
    while (length < longest && length < end && at(end - 1 - length) == at(n - 1 - length)) ++length;
    if (length < shortest || length <= best.length) continue;
    const auto first = static_cast<size_t>(end);
    best = {length, text.subspan(first, static_cast<size_t>(std::min(most, n - end)))};
    if (length == longest) break;
  }
  return best;
}

}  // namespace gradus::lm
