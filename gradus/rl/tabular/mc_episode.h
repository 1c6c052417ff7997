// Whole episodes and their returns, for Monte Carlo methods. Sutton & Barto, 2nd ed., chapter 5; Zhao, chapter 5.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "gradus/rl/tabular/learner.h"

namespace gradus::rl {

struct McVisit {
  int64_t s, a;
  double r;
  bool counts = true;  // as `visits` asks: the initial one, first ones of a pair, or every one
};

// The episode from state s, action a first, then by choose(s). Ends where the environment ends it, or after
// `most_steps` if the environment sets no limit.
template <class Choose>
void follow(env::FiniteEnv& env, int64_t s, int64_t a, Choose choose, int64_t most_steps, Rng& rng,
            std::vector<McVisit>& visits, EpisodeStats& stats) {
  visits.clear();
  const bool limited = env.spec().max_episode_steps > 0;
  while (true) {
    const auto m = env.move(a, rng);
    visits.push_back({s, a, m.reward});
    stats.add(m);
    if (m.terminated || m.truncated) return;
    if (!limited && static_cast<int64_t>(visits.size()) >= most_steps) return;
    s = m.next;
    a = choose(s);
  }
}

// Marks the visits that count. `seen` has a mark per pair (or per state, where its n_actions is 1), of the last episode
// in which it was visited.
inline void mark_visits(std::string_view which, std::vector<McVisit>& visits, Table& seen, double episode) {
  if (which == "every") return;
  for (McVisit& v : visits) {
    double& last = seen(v.s, seen.n_actions() == 1 ? 0 : v.a);
    v.counts = which == "initial" ? &v == visits.data() : last != episode;
    last = episode;
  }
}

// learn(visit, G) for the visits that count, from the last to the first. G = r + gamma r' + ..., nothing after the end,
// be it a time limit's: Monte Carlo has no guess of what would have followed.
template <class Learn>
void learn_returns(const std::vector<McVisit>& visits, double gamma, Learn learn) {
  double G = 0;
  for (auto v = visits.rbegin(); v != visits.rend(); ++v) {
    G = v->r + gamma * G;
    if (v->counts) learn(*v, G);
  }
}

}  // namespace gradus::rl
