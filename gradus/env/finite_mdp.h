// A finite Markov decision process as a table: what dynamic programming solves and FiniteEnv samples. Sutton & Barto,
// 2nd ed., eq. (3.2); Zhao, section 1.7.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gradus::env {

// One way in which an action can end: with `probability` in state `next`, paying `reward`. After `terminated` the
// episode is over and nothing more is earned, whatever `next` is. With a deviation the reward is the mean of a normal
// distribution.
struct Outcome {
  double probability = 1;
  int32_t next = 0;
  bool terminated = false;
  double reward = 0;
  double deviation = 0;
};

// How states lie on a plane and what actions do there, for tables and pictures.
struct GridPicture {
  enum class Cell : char { plain = '.', forbidden = '#', target = 'T', wall = 'W', start = 'S' };
  int64_t rows = 0, columns = 0;
  std::vector<Cell> cells{};                            // [rows * columns]
  std::vector<int32_t> state_of{};                      // [rows * columns]; -1: no state there
  std::vector<std::string> arrows{};                    // of each action, one UTF-8 character
  std::vector<std::pair<double, double>> directions{};  // of each action: right and down; {0, 0} stays
};

class FiniteMdp {
 public:
  // What a definition fills in.
  struct Definition {
    int64_t n_states = 0, n_actions = 0;
    std::vector<std::vector<Outcome>> outcomes{};  // [n_states * n_actions], state by state; empty: no such action
    std::vector<double> start{};                   // [n_states], probabilities of the first state
    std::vector<std::string> state_names{};        // [n_states], or empty: numbers
    std::vector<std::string> action_names{};       // [n_actions], or empty: numbers
    std::optional<GridPicture> picture{};
  };

  // Throws invalid_argument, naming state and action, on probabilities that are negative or do not sum to one (within
  // 1e-9), a next state out of range, a reward that is not finite, or a state with some actions and not others. A state
  // without any action is terminal: what leads there terminates.
  explicit FiniteMdp(Definition definition);

  int64_t n_states() const { return n_states_; }
  int64_t n_actions() const { return n_actions_; }
  std::span<const Outcome> outcomes(int64_t s, int64_t a) const {
    const size_t i = static_cast<size_t>(s * n_actions_ + a);
    return {outcomes_.data() + first_[i], first_[i + 1] - first_[i]};
  }
  bool is_terminal(int64_t s) const { return outcomes(s, 0).empty(); }
  std::span<const double> start() const { return start_; }
  std::string state_name(int64_t s) const;
  std::string action_name(int64_t a) const;
  const std::optional<GridPicture>& picture() const { return picture_; }

  double expected_reward(int64_t s, int64_t a) const;

 private:
  int64_t n_states_, n_actions_;
  std::vector<size_t> first_;
  std::vector<Outcome> outcomes_;
  std::vector<double> start_;
  std::vector<std::string> state_names_, action_names_;
  std::optional<GridPicture> picture_;
};

}  // namespace gradus::env
