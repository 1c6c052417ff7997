// Frames on a terminal, each drawn over the one before.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "apps/gradus/output.h"
#include "gradus/env/frame.h"

namespace gradus::app {

struct AnimationOptions {
  double speed = 1;                              // of the frames' own time; 0: without waiting
  std::function<std::string(size_t t)> caption;  // one line below frame t; asked for once each, in order
};

// Shows the frames where the cursor stands, as large as the terminal lets it; the last one stays. While it runs the
// cursor is hidden; it is shown again however this ends. Returns false when Ctrl-C ended it.
bool animate(std::span<const env::Frame> frames, const AnimationOptions& options, Output& out);

}  // namespace gradus::app
