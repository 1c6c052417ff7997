// The rows of `gradus bench rl` whose values and policies are networks.
#pragma once

#include "bench/bench.h"

namespace gradus::bench {

// dqn, ddpg, td3 and sac on Pendulum: updates a second, and the share of one thread's peak, by the products that are
// computed. Then PPO on Pendulum by the settings of RLtools: a whole training, and what it learned. All on one thread.
void network_speed(int rounds, const Sink& sink);

}  // namespace gradus::bench
