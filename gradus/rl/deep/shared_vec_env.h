// The environments of several ranks that train together: each rank steps its share of them, and all see all rows.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gradus/env/env_slot.h"
#include "gradus/env/vec_env.h"
#include "gradus/run/ranks.h"

namespace gradus::rl {

// As env::VecEnv, with num_envs of all ranks together, and the same results: environment i begins its episodes with the
// same seeds, whoever steps it. Every function but spec and config is collective, and takes the same arguments on all
// ranks; a state is whole, and may be restored by another number of ranks. With fewer environments than ranks some step
// none. There is one batch, of all.
//
// Cost of a step: one all-gather, of 2 * observation_size floats and 27 bytes of each environment.
class SharedVecEnv final : public env::VecEnv {
 public:
  // `ranks` outlives the object. Throws what env::make_vec_env throws, and invalid_argument on smaller batches.
  SharedVecEnv(const env::EnvFactory& make, const env::VecConfig& config, run::Ranks& ranks);

  const env::EnvSpec& spec() const override { return example_->spec(); }
  const env::VecConfig& config() const override { return config_; }
  std::span<const float> reset(std::optional<uint64_t> seed) override;
  std::span<const float> reset_where(std::span<const uint8_t> mask) override;
  env::VecStep step(std::span<const float> actions) override;
  void send(std::span<const float> actions) override;
  env::VecStep recv() override;
  env::VecState state() const override;
  void restore(const env::VecState& state) override;

 private:
  int64_t begin_of(int rank) const { return bounds_[static_cast<size_t>(rank)]; }
  int64_t n_own() const { return begin_of(ranks_.rank() + 1) - begin_of(ranks_.rank()); }
  // This rank's part of an array with `width` numbers for each environment.
  template <class T>
  std::span<const T> own(std::span<const T> all, int64_t width = 1) const;
  std::span<const float> gather_observations(std::span<const float> mine);

  env::VecConfig config_;
  run::Ranks& ranks_;
  std::unique_ptr<env::Env> example_;      // of the spec
  std::vector<int64_t> bounds_;            // [ranks + 1], in environments
  std::unique_ptr<env::VecEnv> own_envs_;  // null where there are none
  env::VecRows rows_;                      // of all
  std::vector<std::byte> packed_;          // a step of all, rank by rank
  std::vector<int64_t> packed_bounds_;     // [ranks + 1], in bytes
};

}  // namespace gradus::rl
