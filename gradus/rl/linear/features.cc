#include "gradus/rl/linear/features.h"

#include <cmath>
#include <numbers>

#include "gradus/core/error.h"

namespace gradus::rl {

namespace {

using env::Box;

constexpr int64_t kMostFeatures = int64_t{1} << 24;

int64_t checked(std::string_view key, int64_t value) {
  require(value >= 1 && value <= kMostFeatures, "features: {} is {}, but must lie in [1, {}]", key, value,
          kMostFeatures);
  return value;
}

// base^exponent features, if they are not too many.
int64_t power(int64_t base, size_t exponent) {
  int64_t n = 1;
  for (size_t i = 0; i < exponent; ++i) {
    n *= base;
    require(n <= kMostFeatures, "features: {}^{} features are more than {}; use fewer cells, tiles or a lower order",
            base, exponent, kMostFeatures);
  }
  return n;
}

// The exponents of all monomials up to a total order, lower orders first.
std::vector<int64_t> exponents_up_to(int64_t order, size_t n_dimensions) {
  std::vector<int64_t> list;
  std::vector<int64_t> e(n_dimensions, 0);
  const auto place = [&](const auto& self, size_t i, int64_t left) -> void {
    if (i + 1 == e.size()) {
      e[i] = left;
      list.insert(list.end(), e.begin(), e.end());
      require(static_cast<int64_t>(list.size()) <= kMostFeatures,
              "features: a polynomial of order {} in {} dimensions has too many terms; use a lower order", order,
              n_dimensions);
      return;
    }
    for (int64_t k = left; k >= 0; --k) {
      e[i] = k;
      self(self, i + 1, left - k);
    }
  };
  for (int64_t total = 0; total <= order; ++total) place(place, 0, total);
  return list;
}

}  // namespace

Box bounds_of(const env::Space& space) {
  Box box;
  if (const auto* discrete = std::get_if<env::Discrete>(&space)) {
    box = {.low = {static_cast<double>(discrete->start)},
           .high = {static_cast<double>(discrete->start + discrete->n - 1)}};
  } else {
    box = std::get<Box>(space);
  }
  require(!box.low.empty(), "features: the observation space {} has no dimension", to_string(space));
  for (size_t i = 0; i < box.low.size(); ++i) {
    require(std::isfinite(box.low[i]) && std::isfinite(box.high[i]) && box.low[i] <= box.high[i],
            "features: dimension {} of the observations lies in [{}, {}]; features need finite bounds", i, box.low[i],
            box.high[i]);
  }
  return box;
}

Scale::Scale(const Box& box, double width) : low_(box.low), width_(width) {
  for (size_t i = 0; i < low_.size(); ++i) {
    const double range = box.high[i] - box.low[i];
    factor_.push_back(range > 0 ? width / range : 0);
  }
}

Aggregation::Aggregation(const Box& box, int64_t cells)
    : Features(power(checked("cells", cells), box.low.size()), 1),
      cells_(cells),
      scale_(box, static_cast<double>(cells)) {}

void Aggregation::phi(std::span<const double> s, std::span<Entry> out) const {
  int64_t index = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    index = index * cells_ + std::min(static_cast<int64_t>(scale_(s, i)), cells_ - 1);
  }
  out[0] = {.index = static_cast<int32_t>(index), .value = 1};
}

Polynomial::Polynomial(const Box& box, int64_t order)
    : Polynomial(box, exponents_up_to(checked("order", order), box.low.size())) {}

Polynomial::Polynomial(const Box& box, std::vector<int64_t> exponents)
    : Features(static_cast<int64_t>(exponents.size() / box.low.size()),
               static_cast<int64_t>(exponents.size() / box.low.size())),
      scale_(box, 2),
      exponents_(std::move(exponents)) {}

void Polynomial::phi(std::span<const double> s, std::span<Entry> out) const {
  const int64_t* exponent = exponents_.data();
  for (size_t j = 0; j < out.size(); ++j) {
    double product = 1;
    for (size_t i = 0; i < s.size(); ++i, ++exponent) {
      const double x = scale_(s, i) - 1;
      for (int64_t k = 0; k < *exponent; ++k) product *= x;
    }
    out[j] = {.index = static_cast<int32_t>(j), .value = product};
  }
}

Fourier::Fourier(const Box& box, int64_t q)
    : Features(power(checked("order", q) + 1, box.low.size()), power(q + 1, box.low.size())), scale_(box, 1) {
  for (int64_t j = 0; j < n(); ++j) {
    int64_t digits = j;
    for (int64_t i = 0; i < scale_.n_dimensions(); ++i, digits /= q + 1) {
      c_.push_back(std::numbers::pi * static_cast<double>(digits % (q + 1)));
    }
  }
}

void Fourier::phi(std::span<const double> s, std::span<Entry> out) const {
  const double* c = c_.data();
  for (size_t j = 0; j < out.size(); ++j) {
    double angle = 0;
    for (size_t i = 0; i < s.size(); ++i) angle += *c++ * scale_(s, i);
    out[j] = {.index = static_cast<int32_t>(j), .value = std::cos(angle)};
  }
}

TileCoding::TileCoding(const Box& box, int64_t tilings, int64_t tiles)
    : Features(checked("tilings", tilings) * power(checked("tiles", tiles) + 1, box.low.size()), tilings),
      tilings_(static_cast<uint32_t>(tilings)),
      scale_(box, static_cast<double>(tilings * tiles)) {
  require(scale_.n_dimensions() <= kMostDimensions, "tile coding: {} dimensions, but {} are the most",
          scale_.n_dimensions(), kMostDimensions);
  require(n() <= kMostFeatures, "tile coding: {} features are more than {}; use fewer tiles or tilings", n(),
          kMostFeatures);
  for (int64_t i = 0; i < scale_.n_dimensions(); ++i) {
    stride_.push_back(tiling_size_);
    tiling_size_ *= static_cast<uint32_t>(tiles + 1);
  }
  for (int64_t k = 0; k < tilings; ++k) {
    for (int64_t i = 0; i < scale_.n_dimensions(); ++i) {
      shift_.push_back(static_cast<uint32_t>(k * (2 * i + 1) % tilings));
    }
  }
}

std::unique_ptr<Features> make_features(const env::Space& space, const FeaturesConfig& c) {
  const Box box = bounds_of(space);
  if (c.kind == "aggregation") return std::make_unique<Aggregation>(box, c.cells);
  if (c.kind == "polynomial") return std::make_unique<Polynomial>(box, c.order);
  if (c.kind == "fourier") return std::make_unique<Fourier>(box, c.order);
  if (c.kind == "tiles") return std::make_unique<TileCoding>(box, c.tilings, c.tiles);
  fail(ErrorCode::invalid_argument,
       "features: kind is '{}', but must be one of aggregation, polynomial, fourier, tiles", c.kind);
}

Table feature_matrix(const Features& features, const std::vector<std::vector<double>>& points) {
  Table matrix(static_cast<int64_t>(points.size()), features.n());
  std::vector<Entry> entries(static_cast<size_t>(features.n_entries()));
  for (size_t s = 0; s < points.size(); ++s) {
    features.phi(points[s], entries);
    for (const Entry& e : entries) matrix(static_cast<int64_t>(s), e.index) = e.value;
  }
  return matrix;
}

}  // namespace gradus::rl
