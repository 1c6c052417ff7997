// Fair timing on a machine that is never quite quiet: all competitors take turns in every round, and the median over
// rounds speaks for each. Ratios between them then hold even when the machine slows down for a while.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace gradus::bench {

class Alternation {
 public:
  using Id = std::size_t;

  // `body` is run `repeats` times in a row and counts as one measurement.
  Id add(std::function<void()> body, int64_t repeats = 1);

  // One round that does not count (caches, lazily created state), then `rounds` that do.
  void run(int rounds);

  double median_s(Id id) const;                                 // seconds of one body
  double median_ratio(Id a, Id b) const;                        // of a's seconds to b's, round by round
  const std::vector<double>& all_s(Id id) const;                // of each round
  std::vector<double> sum_s(const std::vector<Id>& ids) const;  // of each round, of all of them

 private:
  struct Entry {
    std::function<void()> body;
    int64_t repeats;
    std::vector<double> seconds;
  };
  std::vector<Entry> entries_;
};

double median(std::vector<double> values);  // of at least one

// How often a body of so many FLOPs (or bytes) has to be repeated to last about 10 ms at 10^11 a second.
int64_t repeats_for(double work);

}  // namespace gradus::bench
