// Feature vectors phi(s) of an observation: state aggregation, polynomials, Fourier basis, tile coding. What is done
// with them, and the weights, are elsewhere.
//
// A feature vector is handed over as the entries that may differ from zero, the same number for every s: all of a
// polynomial, one tile per tiling of a tile coding. So each algorithm is written once, over a FeatureMap, and with a
// final class such as TileCoding nothing in it is a virtual call.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gradus/env/space.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

struct Entry {
  int32_t index = 0;
  double value = 0;
};
using Phi = std::span<const Entry>;

template <class F>
concept FeatureMap = requires(const F& f, std::span<const double> s, std::span<Entry> out) {
  { f.n() } -> std::convertible_to<int64_t>;
  { f.n_entries() } -> std::convertible_to<int64_t>;
  f.phi(s, out);
};

// Immutable, so that threads may share one.
class Features {
 public:
  virtual ~Features() = default;

  int64_t n() const { return n_; }                  // the length of phi(s)
  int64_t n_entries() const { return n_entries_; }  // how many entries phi writes; the others are 0

  // Writes the entries of phi(s), by distinct indices below n().
  //   s    an element of the space that the features were made for; what lies outside counts as the nearest inside
  //   out  [n_entries()]
  virtual void phi(std::span<const double> s, std::span<Entry> out) const = 0;

 protected:
  Features(int64_t n, int64_t n_entries) : n_(n), n_entries_(n_entries) {}

 private:
  int64_t n_, n_entries_;
};

// The range of a space's elements, a Discrete one as a line. Throws invalid_argument where a bound is infinite or a
// range empty.
env::Box bounds_of(const env::Space& space);

// Maps [low, high] to [0, width]. A range of one point becomes 0.
class Scale {
 public:
  Scale(const env::Box& box, double width);
  int64_t n_dimensions() const { return static_cast<int64_t>(low_.size()); }
  double operator()(std::span<const double> s, size_t i) const {
    const double x = (s[i] - low_[i]) * factor_[i];
    return x > 0 ? std::min(x, width_) : 0;
  }

 private:
  std::vector<double> low_, factor_;
  double width_;
};

// States in groups: `cells` equal intervals of each dimension, phi the unit vector of the cell. Sutton & Barto, 2nd
// ed., section 9.3. With as many cells as there are states this is a table.
class Aggregation final : public Features {
 public:
  Aggregation(const env::Box& box, int64_t cells);
  void phi(std::span<const double> s, std::span<Entry> out) const override;

 private:
  int64_t cells_;
  Scale scale_;
};

// All monomials up to a total order of the coordinates, each scaled to [-1, 1]: 3, 6, 10 of a plane for orders 1, 2, 3.
// Zhao, section 8.2.4 (his figure 8.7).
class Polynomial final : public Features {
 public:
  Polynomial(const env::Box& box, int64_t order);
  void phi(std::span<const double> s, std::span<Entry> out) const override;

 private:
  Polynomial(const env::Box& box, std::vector<int64_t> exponents);
  Scale scale_;
  std::vector<int64_t> exponents_;  // [n, n_dimensions]
};

// cos(pi c . x) for every c in {0 .. q}^dimensions, each coordinate scaled to [0, 1]. Konidaris, Osentoski, Thomas
// 2011; Zhao, section 8.2.4 (his figure 8.8); Sutton & Barto, 2nd ed., section 9.5.2.
class Fourier final : public Features {
 public:
  Fourier(const env::Box& box, int64_t q);
  void phi(std::span<const double> s, std::span<Entry> out) const override;

 private:
  Scale scale_;
  std::vector<double> c_;  // [n, n_dimensions], times pi
};

// `tilings` grids of tiles^dimensions over the box, tiling k shifted by k (1, 3, 5, ...) / tilings of a tile, modulo a
// tile. Phi is 1 at the tile of each tiling that holds s. Sutton & Barto, 2nd ed., section 9.5.4. Every grid is one
// tile longer in each dimension than what it must cover, because of the shift.
class TileCoding final : public Features {
 public:
  static constexpr int64_t kMostDimensions = 8;

  TileCoding(const env::Box& box, int64_t tilings, int64_t tiles);

  // In units of a shift, s is at whole tiles and a rest; a shift carries into the next tile or does not.
  void phi(std::span<const double> s, std::span<Entry> out) const override {
    const auto n_dimensions = stride_.size();
    std::array<uint32_t, kMostDimensions> rest;
    uint32_t first = 0;
    for (size_t i = 0; i < n_dimensions; ++i) {
      const auto units = static_cast<uint32_t>(scale_(s, i));
      rest[i] = units % tilings_;
      first += units / tilings_ * stride_[i];
    }
    const uint32_t* shift = shift_.data();
    for (uint32_t k = 0; k < tilings_; ++k, first += tiling_size_) {
      uint32_t index = first;
      for (size_t i = 0; i < n_dimensions; ++i) {
        if (rest[i] + *shift++ >= tilings_) index += stride_[i];
      }
      out[k] = {.index = static_cast<int32_t>(index), .value = 1};
    }
  }

 private:
  uint32_t tilings_, tiling_size_ = 1;
  Scale scale_;
  std::vector<uint32_t> stride_;  // [n_dimensions], of one tile
  std::vector<uint32_t> shift_;   // [tilings, n_dimensions], in units of 1 / tilings of a tile
};

struct FeaturesConfig {
  std::string kind = "tiles";
  int64_t cells = 5;
  int64_t order = 3;
  int64_t tilings = 8;
  int64_t tiles = 8;

  template <class F>
  void fields(F& f) {
    f("kind", kind, "aggregation, polynomial, fourier or tiles");
    f("cells", cells, "groups of aggregation in each dimension");
    f("order", order, "of a polynomial, or of the Fourier basis");
    f("tilings", tilings, "of tile coding");
    f("tiles", tiles, "of each tiling in each dimension");
  }
};

// Throws invalid_argument on an unknown kind, a number below 1, more than 2^24 features, or a space that bounds_of does
// not take.
std::unique_ptr<Features> make_features(const env::Space& space, const FeaturesConfig& config);

// [n_points, n]: the feature vectors of points as rows.
Table feature_matrix(const Features& features, const std::vector<std::vector<double>>& points);

}  // namespace gradus::rl
