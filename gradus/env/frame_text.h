// Frames (frame.h) as text for a terminal: two pixels to a character, one above the other, in colour.
#pragma once

#include <cstdint>
#include <string>

#include "gradus/env/frame.h"
#include "gradus/env/raster.h"

namespace gradus::env {

// What a terminal shows: any colour, or the 256 of xterm.
enum class TerminalColours { all, xterm_256 };

// Lines of `raster.width` half blocks, from the top; each ends with the colours reset and a line end. Throws
// invalid_argument on an odd number of rows.
std::string half_blocks(const Raster& raster, TerminalColours colours);

// The frame as large as it fits into `columns` x `lines` characters, with its proportions, where a character is twice
// as high as wide. Throws invalid_argument on fewer than one of them, and what rasterise throws.
std::string frame_text(const Frame& frame, int64_t columns, int64_t lines, TerminalColours colours);

}  // namespace gradus::env
