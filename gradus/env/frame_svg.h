// Frames (frame.h) as one animated SVG document: no script, only SMIL, which browsers play also where an SVG is shown
// as an image. A program that knows no animation shows the first frame.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "gradus/env/frame.h"

namespace gradus::env {

// Plays the frames at the pace of the first one's `seconds`, holds the last for a second and starts again.
//   frames   one view and one background for all; a shape moves as its pose does, in straight lines from frame to frame
//            and by the shorter turn; where its look changes, or it is missing, it does so at once
// 600 pixels wide. Equal frames give equal text. Throws invalid_argument on no frame, on views that differ, and on
// numbers that are not finite.
std::string animated_svg(std::span<const Frame> frames);

// Episodes one after another, the last frame of each held for a second. Where the text would be longer than
// `most_bytes`, only every second frame of each and its last are shown, or every fourth, ..., in the same time; what is
// still longer then, with two frames of each, is so.
std::string animated_svg(std::span<const std::vector<Frame>> episodes, size_t most_bytes);

}  // namespace gradus::env
