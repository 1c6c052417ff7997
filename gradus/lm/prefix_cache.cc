#include "gradus/lm/prefix_cache.h"

#include <algorithm>

#include "gradus/kernels/attention.h"

namespace gradus::lm {

struct PrefixCache::Node {
  std::vector<int32_t> tokens = {};  // at most kKeyBlock; only a leaf has fewer
  int32_t page = -1;
  int64_t end = 0;  // of its tokens, in the text
  bool ready = true;
  uint64_t used = 0;
  Node* parent = nullptr;
  std::vector<std::unique_ptr<Node>> children = {};

  bool is_whole() const { return static_cast<int64_t>(tokens.size()) == kernels::kKeyBlock; }
};

namespace {

size_t common_length(std::span<const int32_t> a, std::span<const int32_t> b) {
  return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

std::span<const int32_t> front(std::span<const int32_t> text) {
  return text.first(std::min(text.size(), static_cast<size_t>(kernels::kKeyBlock)));
}

}  // namespace

int64_t PrefixCache::Match::tokens() const {
  return static_cast<int64_t>(pages.size()) * kernels::kKeyBlock + partial;
}

PrefixCache::PrefixCache(PagePool& pool) : pool_(pool), root_(std::make_unique<Node>()) {}
PrefixCache::~PrefixCache() = default;

PrefixCache::Match PrefixCache::find(std::span<const int32_t> text) {
  Match match;
  Node* at = root_.get();
  ++clock_;
  while (!text.empty()) {
    Node* best = nullptr;
    size_t most = 0;
    for (const auto& child : at->children) {
      const size_t n = common_length(text, child->tokens);
      if (n > most) most = n, best = child.get();
    }
    if (best == nullptr) break;
    best->used = clock_;
    match.ready = match.ready && best->ready;
    if (most < static_cast<size_t>(kernels::kKeyBlock)) {
      match.partial_page = best->page;
      match.partial = static_cast<int64_t>(most);
      break;
    }
    match.pages.push_back(best->page);
    text = text.subspan(most);
    at = best;
  }
  return match;
}

std::vector<PrefixCache::Node*> PrefixCache::add(std::span<const int32_t> text, std::span<const int32_t> pages,
                                                 bool ready) {
  std::vector<Node*> added;
  Node* at = root_.get();
  int64_t end = 0;
  ++clock_;
  for (const int32_t page : pages) {
    const std::span<const int32_t> tokens = front(text);
    if (tokens.empty() || (at != root_.get() && !at->is_whole())) break;
    end += static_cast<int64_t>(tokens.size());
    const auto known = std::ranges::find_if(at->children, [&](const auto& c) {
      return c->tokens.size() >= tokens.size() && common_length(tokens, c->tokens) == tokens.size();
    });
    if (known != at->children.end()) {
      if ((*known)->page != page) break;  // whoever uses a page uses all before it, so that leaves can be forgotten
      at = known->get();
    } else {
      // What was known of this very page was its first slots.
      const auto shorter = std::ranges::find_if(at->children, [&](const auto& c) { return c->page == page; });
      if (shorter != at->children.end() && ready && (*shorter)->ready) {
        at = shorter->get();
        at->tokens.assign(tokens.begin(), tokens.end());
        at->end = end;
      } else if (shorter != at->children.end()) {
        break;
      } else {
        pool_.share(page);
        at->children.push_back(std::make_unique<Node>());
        Node* const node = at->children.back().get();
        *node = {.tokens = {tokens.begin(), tokens.end()}, .page = page, .end = end, .ready = ready, .parent = at};
        added.push_back(node);
        at = node;
      }
    }
    at->used = clock_;
    text = text.subspan(tokens.size());
  }
  return added;
}

void PrefixCache::ready(std::vector<Node*>& nodes, int64_t tokens) {
  while (!nodes.empty() && nodes.front()->end <= tokens) {
    nodes.front()->ready = true;
    nodes.erase(nodes.begin());
  }
}

bool PrefixCache::forget_one() {
  Node* oldest = nullptr;
  const auto look = [&](const auto& self, Node& node) -> void {
    for (const auto& child : node.children) self(self, *child);
    if (&node == root_.get() || !node.children.empty() || pool_.n_users(node.page) > 1 || !node.ready) return;
    if (oldest == nullptr || node.used < oldest->used) oldest = &node;
  };
  look(look, *root_);
  if (oldest == nullptr) return false;
  forget(*oldest);
  return true;
}

void PrefixCache::forget(Node& leaf) {
  pool_.release(leaf.page);
  std::erase_if(leaf.parent->children, [&](const auto& c) { return c.get() == &leaf; });
}

void PrefixCache::forget_all() {
  const auto release = [&](const auto& self, Node& node) -> void {
    for (const auto& child : node.children) self(self, *child);
    if (&node != root_.get()) pool_.release(node.page);
  };
  release(release, *root_);
  root_->children.clear();
}

}  // namespace gradus::lm
