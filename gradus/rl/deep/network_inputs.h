// Observations as a network sees them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/env/space.h"
#include "gradus/rl/function_agent.h"

namespace gradus::rl {

// A number of a Discrete space becomes one 1 among 0s; a number of a Box is brought to [0, 1] by its bounds, or stays
// as it is where it has none.
class NetworkInputs {
 public:
  explicit NetworkInputs(const env::Space& space);

  int64_t n() const { return static_cast<int64_t>(scale_.size()); }
  //   s  an element of the space;  x [n()]
  void fill(std::span<const float> s, std::span<float> x) const;

 private:
  bool one_hot_;
  std::vector<float> low_, scale_;
};

// What a network should see of an environment: of a finite one where its states lie (coordinates.h), or, if they lie
// nowhere, which one it is.
//   points  of a finite environment, or null
env::Space network_space(const env::EnvSpec& spec, const CoordinateEnv* points);

}  // namespace gradus::rl
