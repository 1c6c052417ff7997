#include "gradus/posttrain/curriculum.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"

namespace gradus::posttrain {
namespace {

constexpr double kUnseen = -1.0;
constexpr double kLeastWeight = 0.05;

bool is_share(double x) {
  return x >= 0.0 && x <= 1.0;
}  // false for NaN

}  // namespace

Curriculum::Curriculum(CurriculumConfig config) : config_(config) {
  if (config_.first_greatest == 0) config_.first_greatest = config_.greatest;
  const auto& c = config_;
  require(c.least <= c.greatest, "curriculum: difficulties {}..{} are no range; put the smaller one first", c.least,
          c.greatest);
  require(c.least <= c.first_greatest && c.first_greatest <= c.greatest,
          "curriculum: the first range ends at {}; choose a value from {} to {}", c.first_greatest, c.least,
          c.greatest);
  require(is_share(c.widened_at), "curriculum: widened_at is {}; choose a share of the training from 0 to 1",
          c.widened_at);
  require(is_share(c.memory) && c.memory < 1.0, "curriculum: memory is {}; choose a value from 0 to below 1", c.memory);
  success_.assign(static_cast<size_t>(c.greatest - c.least + 1), kUnseen);
}

int Curriculum::greatest_at(double progress) const {
  const int n_steps = config_.greatest - config_.first_greatest;
  if (progress >= config_.widened_at) return config_.greatest;
  if (!(progress > 0.0)) return config_.first_greatest;
  return config_.first_greatest + static_cast<int>(std::floor(progress / config_.widened_at * n_steps));
}

double Curriculum::success_rate(int difficulty) const {
  const int d = difficulty - config_.least;
  if (d < 0 || d >= static_cast<int>(success_.size())) return 0.0;
  return std::max(0.0, success_[static_cast<size_t>(d)]);
}

double Curriculum::weight(int difficulty) const {
  return config_.prioritised ? std::max(kLeastWeight, 1.0 - success_rate(difficulty)) : 1.0;
}

int Curriculum::draw(Rng& rng, double progress) const {
  const int greatest = greatest_at(progress);
  double total = 0.0;
  for (int d = config_.least; d <= greatest; ++d) total += weight(d);
  double left = rng.uniform() * total;
  for (int d = config_.least; d < greatest; ++d) {
    left -= weight(d);
    if (left < 0.0) return d;
  }
  return greatest;
}

void Curriculum::record(int difficulty, double success) {
  require(is_share(success), "curriculum: the success of difficulty {} is {}; it must be a share from 0 to 1",
          difficulty, success);
  const int d = difficulty - config_.least;
  if (d < 0 || d >= static_cast<int>(success_.size())) return;
  double& s = success_[static_cast<size_t>(d)];
  s = s == kUnseen ? success : config_.memory * s + (1.0 - config_.memory) * success;
}

void Curriculum::restore(std::span<const double> state) {
  if (state.size() != success_.size()) {
    fail(ErrorCode::corrupt,
         "curriculum: the saved state has {} difficulties but the configuration has {}; resume with the same range",
         state.size(), success_.size());
  }
  for (const double s : state) {
    if (s != kUnseen && !is_share(s)) {
      fail(ErrorCode::corrupt, "curriculum: the saved state holds {}; a success rate is 0..1, or -1 for none", s);
    }
  }
  success_.assign(state.begin(), state.end());
}

}  // namespace gradus::posttrain
