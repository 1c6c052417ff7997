// How often guesses turn out right, counted: what a source says of its own guesses becomes what they are worth.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace gradus::lm {

// Of one source at one depth: for guesses of about the same confidence, the share that was right, given that all before
// them was. It begins with the confidence itself, worth kPrior observations.
class DraftChances {
 public:
  static constexpr double kPrior = 8;

  // p: what the source says, 0 to 1.
  double chance(double p) const {
    const Bin& b = bins_[bin_of(p)];
    return (b.right + kPrior * p) / (b.seen + kPrior);
  }
  void observe(double p, bool was_right) {
    Bin& b = bins_[bin_of(p)];
    if (b.seen >= kMostSeen) b.seen /= 2, b.right /= 2;  // what was long ago counts less
    b.seen += 1;
    b.right += was_right ? 1 : 0;
  }

 private:
  static constexpr int kBins = 20;
  static constexpr double kMostSeen = 512;
  struct Bin {
    double seen = 0, right = 0;
  };
  // Even in log odds: half a unit each, from -5 to 5.
  static size_t bin_of(double p);

  std::array<Bin, kBins> bins_{};
};

}  // namespace gradus::lm
