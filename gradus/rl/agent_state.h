// What an agent has learned, as named tensors for checkpoints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradus/core/safetensors.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

using NamedTables = std::vector<std::pair<std::string, Table*>>;

// Copies of the tables that are not empty, f64 [n_states, n_actions].
NamedTensors state_of(const NamedTables& tables);

// Fills the tables that are not empty. Throws corrupt as `find_in` does.
void restore(const NamedTables& tables, const NamedTensors& state);

// The tensor of this name. Throws corrupt unless it is there with this shape and dtype.
const Tensor& find_in(const NamedTensors& state, std::string_view name, const Shape& shape, DType dtype);

}  // namespace gradus::rl
