// The rows of a minibatch that several ranks learn from together (run/ranks.h): whose they are, and what each rank
// found out about its own, made everybody's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "gradus/run/ranks.h"

namespace gradus::rl {

struct Rows {
  int64_t begin = 0, end = 0;

  int64_t size() const { return end - begin; }
  bool empty() const { return begin == end; }
  // These rows of an array with `width` numbers in each.
  template <class T>
  std::span<T> of(std::span<T> array, int64_t width = 1) const {
    return array.subspan(static_cast<size_t>(begin * width), static_cast<size_t>(size() * width));
  }
  template <class T>
  std::span<T> of(std::vector<T>& array, int64_t width = 1) const {
    return of(std::span<T>(array), width);
  }
};

// Of n rows those of shards [first, end) among n_shards: cut as run::even_parts does.
inline Rows rows_of_shards(int64_t n, int64_t n_shards, int64_t first, int64_t end) {
  const auto bound = [&](int64_t k) { return k * (n / n_shards) + std::min(k, n % n_shards); };
  return {bound(first), bound(end)};
}

// Of n rows those of all shards of this rank; all of them without ranks, which may be null.
inline Rows own_rows(int64_t n, const run::Ranks* ranks) {
  if (ranks == nullptr) return {0, n};
  const int64_t first = ranks->first_shard();
  return rows_of_shards(n, ranks->shards(), first, first + ranks->shards() / ranks->size());
}

// Numbers of the rows of a minibatch, several of each, whose sums are statistics. A rank writes those of its own rows,
// and a train step makes them everybody's; sums add all rows in their order, so that they have the same bits for any
// number of ranks and shards.
class RowNumbers {
 public:
  // All become 0.
  void begin(int64_t n_rows, size_t n_columns) {
    n_rows_ = static_cast<size_t>(n_rows);
    values_.assign(n_rows_ * n_columns, 0.0);
  }
  double& operator()(size_t column, int64_t row) { return values_[column * n_rows_ + static_cast<size_t>(row)]; }
  std::span<const double> column(size_t c) const { return std::span(values_).subspan(c * n_rows_, n_rows_); }

  std::vector<double>& all() { return values_; }  // to be merged over ranks

  double sum(size_t c) const {
    double sum = 0;
    for (const double x : column(c)) sum += x;
    return sum;
  }
  double sum_of_squares(size_t c) const {
    double sum = 0;
    for (const double x : column(c)) sum += x * x;
    return sum;
  }
  double largest(size_t c) const {  // at least 0
    double most = 0;
    for (const double x : column(c)) most = std::max(most, x);
    return most;
  }

 private:
  size_t n_rows_ = 0;
  std::vector<double> values_;  // column by column
};

}  // namespace gradus::rl
