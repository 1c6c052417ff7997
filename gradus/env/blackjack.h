// Blackjack against the dealer, cards from an infinite deck. Sutton & Barto, 2nd ed., example 5.1; Gymnasium's
// Blackjack-v1 (natural, sab).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "gradus/env/finite_mdp.h"

namespace gradus::env {

struct BlackjackConfig {
  std::string natural = "sab";

  template <class F>
  void fields(F& f) {
    f("natural", natural,
      "a 21 of two cards: sab (wins 1 unless the dealer has one, too: the book's rule), pays (1.5 for a win with it), "
      "none (an ordinary 21)");
  }
};

enum class BlackjackAction : int { stick, hit };

// States: the player's sum, whether it holds an ace that counts 11, the dealer's card (1 = ace); and the same for
// naturals, which are hands of their own. Below 12 nothing is decided but hit, and there are states for these sums,
// too. Throws invalid_argument on another rule for naturals.
std::shared_ptr<const FiniteMdp> blackjack(const BlackjackConfig& config);

struct BlackjackHand {
  int64_t sum = 0;
  bool usable_ace = false;
  int64_t dealer = 0;  // 1 to 10
  bool natural = false;
};
// The index of a hand's state. Throws invalid_argument on a hand that cannot be.
int64_t blackjack_state(const BlackjackHand& hand);

}  // namespace gradus::env
