#include "bench/alternation.h"

#include <algorithm>
#include <chrono>

#include "gradus/core/error.h"

namespace gradus::bench {

Alternation::Id Alternation::add(std::function<void()> body, int64_t repeats) {
  entries_.push_back({std::move(body), std::max<int64_t>(1, repeats), {}});
  return entries_.size() - 1;
}

void Alternation::run(int rounds) {
  require(rounds >= 1, "bench: rounds is {}, but must be at least 1", rounds);
  for (Entry& e : entries_) e.body();
  for (int round = 0; round < rounds; ++round) {
    for (Entry& e : entries_) {
      const auto start = std::chrono::steady_clock::now();
      for (int64_t i = 0; i < e.repeats; ++i) e.body();
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      e.seconds.push_back(elapsed.count() / static_cast<double>(e.repeats));
    }
  }
}

double Alternation::median_s(Id id) const {
  return median(entries_.at(id).seconds);
}

double Alternation::median_ratio(Id a, Id b) const {
  std::vector<double> ratios = all_s(a);
  for (size_t round = 0; round < ratios.size(); ++round) ratios[round] /= all_s(b)[round];
  return median(std::move(ratios));
}

const std::vector<double>& Alternation::all_s(Id id) const {
  return entries_.at(id).seconds;
}

std::vector<double> Alternation::sum_s(const std::vector<Id>& ids) const {
  std::vector<double> sums(all_s(ids.front()).size());
  for (const Id id : ids) {
    for (size_t round = 0; round < sums.size(); ++round) sums[round] += all_s(id)[round];
  }
  return sums;
}

double median(std::vector<double> values) {
  GRADUS_CHECK(!values.empty());
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

int64_t repeats_for(double work) {
  return std::clamp<int64_t>(static_cast<int64_t>(1e9 / work), 1, 100000);
}

}  // namespace gradus::bench
