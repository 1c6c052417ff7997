#include "gradus/env/baird.h"

namespace gradus::env {

std::shared_ptr<const FiniteMdp> baird() {
  FiniteMdp::Definition d{.n_states = 7, .n_actions = 2};
  for (int64_t s = 0; s < 7; ++s) {
    d.outcomes.emplace_back();
    for (int32_t next = 0; next < 6; ++next) d.outcomes.back().push_back({.probability = 1.0 / 6, .next = next});
    d.outcomes.push_back({{.next = 6}});
    d.start.push_back(1.0 / 7);
  }
  d.action_names = {"dashed", "solid"};
  return std::make_shared<const FiniteMdp>(std::move(d));
}

}  // namespace gradus::env
