// How a finite environment on a plane draws itself.
#pragma once

#include <cstdint>
#include <optional>

#include "gradus/env/finite_mdp.h"
#include "gradus/env/frame.h"

namespace gradus::env {

// The cells, a unit wide each, with a disc where the picture shows `state`: solid walls, orange forbidden cells, a blue
// target, a green start. None of a plane of more than 1024 cells, whose frames would fill memory and screen.
std::optional<Frame> grid_frame(const GridPicture& picture, int32_t state);

}  // namespace gradus::env
