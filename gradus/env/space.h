// What observations and actions may be, in Gymnasium's terms. A Discrete element is one number, a Box one per
// dimension, so that both travel as a span of doubles.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "gradus/core/rng.h"

namespace gradus::env {

// start, start + 1, ..., start + n - 1.
struct Discrete {
  int64_t n = 1;
  int64_t start = 0;
  bool operator==(const Discrete&) const = default;
};

// Numbers between bounds, which may be infinite. low and high have one length.
struct Box {
  std::vector<double> low, high;
  bool operator==(const Box&) const = default;
};

using Space = std::variant<Discrete, Box>;

// How many numbers an element takes.
int64_t size_of(const Space& space);

bool contains(const Space& space, std::span<const double> element);

// A random element, as Gymnasium draws it: uniform between two bounds, exponential away from one, normal without any.
//   element  [size_of(space)]
void sample(const Space& space, Rng& rng, std::span<double> element);

std::string to_string(const Space& space);  // "Discrete(5)", "Box(2)"

}  // namespace gradus::env
