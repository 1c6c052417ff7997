// Which beginnings of texts have their keys and values in pages already: a tree whose nodes are pages, each with the
// tokens that it holds. A text that begins like a known one takes over its whole pages, and a copy of one more, of
// which only the first slots are its own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gradus/lm/page_pool.h"

namespace gradus::lm {

class PrefixCache {
 public:
  struct Node;

  // What is known of a text.
  struct Match {
    std::vector<int32_t> pages = {};  // whole ones
    int32_t partial_page = -1;        // one more, of which `partial` slots are the text's next
    int64_t partial = 0;
    bool ready = true;  // false: some of it is still being computed

    int64_t tokens() const;
  };

  // `pool` outlives the object, which is a user of each page it knows.
  explicit PrefixCache(PagePool& pool);
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;
  ~PrefixCache();

  Match find(std::span<const int32_t> text);

  // Makes known that `pages` hold the text's tokens, the last of them perhaps only its first ones; pages that were
  // known stay as they are. Returns the nodes of those that were not, in the order of the text: `ready` tells when
  // their keys are there.
  std::vector<Node*> add(std::span<const int32_t> text, std::span<const int32_t> pages, bool ready);

  // The keys of the text's first `tokens` tokens are there: takes the nodes of which that is all off the front.
  static void ready(std::vector<Node*>& nodes, int64_t tokens);

  // A page that only this object uses, forgotten and free again: the one used least lately. False when there is none.
  bool forget_one();
  void forget_all();

 private:
  void forget(Node& leaf);

  PagePool& pool_;
  std::unique_ptr<Node> root_;
  uint64_t clock_ = 0;
};

}  // namespace gradus::lm
