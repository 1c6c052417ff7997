// What training brought since it was last asked: the episodes that ended, and metrics by name.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradus/rl/episode_stats.h"

namespace gradus::rl {

class TrainingStats {
 public:
  void add_steps(int64_t n) { steps_ += n; }
  void add_episode(double total_reward, int64_t length) {
    ++episodes_;
    total_reward_ += total_reward;
    length_ += static_cast<double>(length);
  }
  // An episode that was learned from as a whole: its steps and its TD errors, too.
  void add(const EpisodeStats& e) {
    add_steps(e.length);
    add_episode(e.total_reward, e.length);
    add_root_mean_square("td_error", e.squared_td_error, static_cast<double>(e.updates));
  }

  // Shown as the mean of what is added, its root mean square, or the largest. Names are looked for: a call a minibatch,
  // not a row.
  void add_mean(std::string_view name, double value, double weight = 1) {
    Metric& m = metric(name, Shown::mean);
    m.sum += value * weight;
    m.weight += weight;
  }
  void add_root_mean_square(std::string_view name, double sum_of_squares, double n) {
    Metric& m = metric(name, Shown::root);
    m.sum += sum_of_squares;
    m.weight += n;
  }

  void add_max(std::string_view name, double value) {
    Metric& m = metric(name, Shown::largest);
    if (m.weight == 0 || !(value <= m.sum)) m.sum = value;  // a NaN stays
    m.weight = 1;
  }

  int64_t steps() const { return steps_; }
  int64_t episodes() const { return episodes_; }
  // Means over the episodes; NaN without any.
  double total_reward() const { return total_reward_ / static_cast<double>(episodes_); }
  double length() const { return length_ / static_cast<double>(episodes_); }
  // In the order in which they first appeared.
  std::vector<std::pair<std::string, double>> metrics() const {
    std::vector<std::pair<std::string, double>> all;
    for (const Metric& m : metrics_) {
      const double mean = m.weight > 0 ? m.sum / m.weight : 0;
      all.emplace_back(m.name, m.shown == Shown::root ? std::sqrt(mean) : mean);
    }
    return all;
  }

 private:
  enum class Shown { mean, root, largest };
  struct Metric {
    std::string name;
    Shown shown = Shown::mean;
    double sum = 0, weight = 0;
  };
  Metric& metric(std::string_view name, Shown shown) {
    for (Metric& m : metrics_) {
      if (m.name == name) return m;
    }
    return metrics_.emplace_back(Metric{.name = std::string(name), .shown = shown});
  }

  int64_t steps_ = 0, episodes_ = 0;
  double total_reward_ = 0, length_ = 0;
  std::vector<Metric> metrics_;
};

}  // namespace gradus::rl
