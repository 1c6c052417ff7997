#include "gradus/lm/sampler.h"

#include "gradus/lm/generation.h"

namespace gradus::lm {

std::vector<Sample> Sampler::generate(std::span<const SampleRequest> requests, const Hooks& hooks) {
  stats_ = {};
  Generation generation(model_, config_, drafter_, requests, hooks, stats_);
  while (!generation.done()) {
    if (hooks.should_stop && hooks.should_stop()) fail(ErrorCode::interrupted, "sampler: stopped on request");
    generation.step();
  }
  return generation.take();
}

}  // namespace gradus::lm
