#include "gradus/lm/draft.h"

namespace gradus::lm {

int32_t DraftTree::child(int32_t node, int32_t token) const {
  for (size_t i = static_cast<size_t>(node) + 1; i < tokens.size(); ++i) {
    if (parents[i] == node && tokens[i] == token) return static_cast<int32_t>(i);
  }
  return -1;
}

}  // namespace gradus::lm
