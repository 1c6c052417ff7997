#include "gradus/env/bandit.h"

#include <fmt/format.h>

#include "gradus/core/error.h"
#include "gradus/core/rng.h"

namespace gradus::env {

namespace {

// The stream of the arms' values. Streams from 0 up are those of the episodes (EpisodeRng): this is the last.
constexpr uint64_t kArmsStream = (uint64_t{1} << 48) - 1;

}  // namespace

std::shared_ptr<const FiniteMdp> bandit(const BanditConfig& c) {
  require(c.arms >= 1 && c.arms <= 1'000'000, "bandit: {} arms, but there must be 1 to a million", c.arms);
  require(c.deviation >= 0, "bandit: deviation is {}, but must not be negative", c.deviation);
  require(c.seed >= 0, "bandit: seed is {}, but must not be negative", c.seed);
  FiniteMdp::Definition d{.n_states = 2, .n_actions = c.arms};
  Rng rng(static_cast<uint64_t>(c.seed), Purpose::environment, kArmsStream);
  for (int64_t a = 0; a < c.arms; ++a) {
    d.outcomes.push_back({{.next = 1, .reward = c.mean + rng.normal(), .deviation = c.deviation}});
    d.action_names.push_back(fmt::format("arm {}", a + 1));
  }
  d.outcomes.resize(static_cast<size_t>(2 * c.arms));
  d.start = {1, 0};
  d.state_names = {"arms", "over"};
  return std::make_shared<const FiniteMdp>(std::move(d));
}

}  // namespace gradus::env
