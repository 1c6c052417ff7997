#include "gradus/rl/agent_state.h"

#include <algorithm>

#include "gradus/core/error.h"

namespace gradus::rl {

namespace {

Shape shape_of(const Table& table) {
  return {table.n_states(), table.n_actions()};
}

}  // namespace

NamedTensors state_of(const NamedTables& tables) {
  NamedTensors state;
  for (const auto& [name, table] : tables) {
    if (!table->values().empty()) state.emplace_back(name, Tensor::from<double>(table->values(), shape_of(*table)));
  }
  return state;
}

void restore(const NamedTables& tables, const NamedTensors& state) {
  for (const auto& [name, table] : tables) {
    if (table->values().empty()) continue;
    std::ranges::copy(find_in(state, name, shape_of(*table), DType::f64).span<double>(), table->values().begin());
  }
}

const Tensor& find_in(const NamedTensors& state, std::string_view name, const Shape& shape, DType dtype) {
  const auto found = std::ranges::find(state, name, &NamedTensors::value_type::first);
  if (found == state.end()) fail(ErrorCode::corrupt, "the tensor {} is missing", name);
  const Tensor& tensor = found->second;
  if (tensor.shape() != shape || tensor.dtype() != dtype) {
    fail(ErrorCode::corrupt, "the tensor {} is {} {}, but must be {} {}", name, gradus::name(tensor.dtype()),
         to_string(tensor.shape()), gradus::name(dtype), to_string(shape));
  }
  return tensor;
}

}  // namespace gradus::rl
