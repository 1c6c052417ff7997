#include "gradus/env/blackjack.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "gradus/core/error.h"

namespace gradus::env {

namespace {

double probability_of(int64_t card) {  // 1 = ace, 10 = ten and the three faces
  return card == 10 ? 4.0 / 13 : 1.0 / 13;
}

struct Hand {
  int64_t sum = 0;
  bool usable = false;  // an ace counts 11
  auto operator<=>(const Hand&) const = default;
};

Hand with_card(Hand hand, int64_t card) {
  hand.sum += card;
  if (card == 1 && hand.sum + 10 <= 21) {
    hand.sum += 10;
    hand.usable = true;
  } else if (hand.sum > 21 && hand.usable) {
    hand.sum -= 10;
    hand.usable = false;
  }
  return hand;
}

// Hands that can occur, in order: sums 4 to 21 without a usable ace, 12 to 21 with one, then the natural.
constexpr int64_t kHard = 18, kSoft = 10, kHands = kHard + kSoft + 1, kDealerCards = 10;

int64_t index_of(const Hand& hand, bool natural) {
  if (natural) return kHands - 1;
  return hand.usable ? kHard + hand.sum - 12 : hand.sum - 4;
}

int64_t state_of(const Hand& hand, bool natural, int64_t dealer) {
  return index_of(hand, natural) * kDealerCards + dealer - 1;
}

// What the dealer ends with: P(sum), 17 to 21, and 22 for bust; P of a natural is apart from other 21s. The dealer hits
// below 17 and sticks on every 17.
struct DealerEnd {
  std::array<double, 23> of_sum{};
  double natural = 0;
};

void play_on(const Hand& hand, double probability, DealerEnd& end) {
  if (hand.sum >= 17) {
    end.of_sum[static_cast<size_t>(std::min<int64_t>(hand.sum, 22))] += probability;
    return;
  }
  for (int64_t card = 1; card <= 10; ++card) play_on(with_card(hand, card), probability * probability_of(card), end);
}

DealerEnd dealer_end(int64_t shown) {
  DealerEnd end;
  const Hand one = with_card({}, shown);
  for (int64_t card = 1; card <= 10; ++card) {
    const Hand two = with_card(one, card);
    if (two.sum == 21) {
      end.natural += probability_of(card);
    } else {
      play_on(two, probability_of(card), end);
    }
  }
  return end;
}

// Rewards of sticking, by their probability.
std::vector<std::pair<double, double>> stick(int64_t sum, bool natural, const DealerEnd& dealer,
                                             const std::string& rule) {
  std::map<double, double> by_reward;
  const double win_with_natural = rule == "pays" ? 1.5 : 1.0;
  for (int64_t end = 17; end <= 22; ++end) {
    const bool wins = end == 22 || sum > end;
    // The book's natural beats a dealer's 21 of three cards.
    const bool beats = natural && rule == "sab" && end == 21;
    const double reward = wins || beats ? (natural ? win_with_natural : 1.0) : sum == end ? 0 : -1;
    by_reward[reward] += dealer.of_sum[static_cast<size_t>(end)];
  }
  by_reward[sum == 21 ? 0 : -1] += dealer.natural;
  return {by_reward.begin(), by_reward.end()};
}

}  // namespace

std::shared_ptr<const FiniteMdp> blackjack(const BlackjackConfig& c) {
  require(c.natural == "sab" || c.natural == "pays" || c.natural == "none",
          "blackjack: natural is '{}', but must be sab, pays or none", c.natural);
  const auto over = static_cast<int32_t>(kHands * kDealerCards);
  FiniteMdp::Definition d{.n_states = over + 1, .n_actions = 2};
  d.outcomes.resize(static_cast<size_t>(d.n_states * 2));
  d.start.resize(static_cast<size_t>(d.n_states));
  d.state_names.resize(static_cast<size_t>(d.n_states), "over");
  for (int64_t dealer = 1; dealer <= kDealerCards; ++dealer) {
    const DealerEnd end = dealer_end(dealer);
    for (int64_t i = 0; i < kHands; ++i) {
      const bool natural = i == kHands - 1;
      const Hand hand = natural ? Hand{21, true} : i < kHard ? Hand{i + 4, false} : Hand{i - kHard + 12, true};
      const auto s = static_cast<size_t>(state_of(hand, natural, dealer));
      d.state_names[s] = fmt::format("{} {} against {}", hand.sum,
                                     natural       ? "natural"
                                     : hand.usable ? "soft"
                                                   : "hard",
                                     dealer == 1 ? "ace" : fmt::format("{}", dealer));
      for (const auto& [reward, probability] : stick(hand.sum, natural, end, c.natural)) {
        d.outcomes[2 * s].push_back({.probability = probability, .next = over, .reward = reward});
      }
      for (int64_t card = 1; card <= 10; ++card) {
        const Hand next = with_card(hand, card);
        const bool bust = next.sum > 21;
        d.outcomes[2 * s + 1].push_back({.probability = probability_of(card),
                                         .next = bust ? over : static_cast<int32_t>(state_of(next, false, dealer)),
                                         .reward = bust ? -1.0 : 0.0});
      }
    }
    for (int64_t first = 1; first <= 10; ++first) {
      for (int64_t second = 1; second <= 10; ++second) {
        const Hand hand = with_card(with_card({}, first), second);
        d.start[static_cast<size_t>(state_of(hand, hand.sum == 21, dealer))] +=
            probability_of(first) * probability_of(second) * probability_of(dealer);
      }
    }
  }
  d.action_names = {"stick", "hit"};
  return std::make_shared<const FiniteMdp>(std::move(d));
}

int64_t blackjack_state(const BlackjackHand& h) {
  const bool possible = h.dealer >= 1 && h.dealer <= kDealerCards && h.sum <= 21 &&
                        (h.natural      ? h.sum == 21 && h.usable_ace
                         : h.usable_ace ? h.sum >= 12
                                        : h.sum >= 4);
  require(possible, "blackjack: there is no hand of {} {} against {}", h.sum, h.usable_ace ? "soft" : "hard", h.dealer);
  return state_of({h.sum, h.usable_ace}, h.natural, h.dealer);
}

}  // namespace gradus::env
