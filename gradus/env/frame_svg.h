// Frames (frame.h) as one animated SVG document: no script, only SMIL, which browsers play also where an SVG is shown
// as an image. A program that knows no animation shows the first frame.
#pragma once

#include <span>
#include <string>

#include "gradus/env/frame.h"

namespace gradus::env {

// Plays the frames at the pace of the first one's `seconds`, holds the last for a second and starts again.
//   frames   one view and one background for all; a shape moves as its pose does, in straight lines from frame to frame
//            and by the shorter turn; where its look changes, or it is missing, it does so at once
// 600 pixels wide. Equal frames give equal text. Throws invalid_argument on no frame, on views that differ, and on
// numbers that are not finite.
std::string animated_svg(std::span<const Frame> frames);

}  // namespace gradus::env
