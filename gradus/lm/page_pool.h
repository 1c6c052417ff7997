// Pages of a key/value cache by number, each with a count of who uses it, so that sequences can share what they have in
// common.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gradus/core/error.h"

namespace gradus::lm {

class PagePool {
 public:
  explicit PagePool(int64_t n_pages) : users_(static_cast<size_t>(n_pages), 0) {
    for (int64_t p = n_pages; p-- > 0;) free_.push_back(static_cast<int32_t>(p));
  }

  // A page with one user; nothing when none is free.
  std::optional<int32_t> take() {
    if (free_.empty()) return std::nullopt;
    const int32_t page = free_.back();
    free_.pop_back();
    users(page) = 1;
    return page;
  }
  void share(int32_t page) { ++users(page); }
  void release(int32_t page) {
    GRADUS_CHECK(users(page) > 0);
    if (--users(page) == 0) free_.push_back(page);
  }

  int32_t n_users(int32_t page) const { return users_[static_cast<size_t>(page)]; }
  int64_t n_free() const { return static_cast<int64_t>(free_.size()); }
  int64_t n_pages() const { return static_cast<int64_t>(users_.size()); }

 private:
  int32_t& users(int32_t page) { return users_[static_cast<size_t>(page)]; }

  std::vector<int32_t> users_, free_;
};

}  // namespace gradus::lm
