#include "gradus/env/blackjack.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "tests/core/expect_error.h"
#include "tests/env/outcomes.h"

namespace gradus::env {
namespace {

// Gymnasium's functions of a hand, which is a list of cards, ace 1, faces 10.
using Cards = std::vector<int64_t>;
int64_t total(const Cards& hand) {
  int64_t sum = 0;
  for (const int64_t card : hand) sum += card;
  return sum;
}
bool usable_ace(const Cards& hand) {
  return std::ranges::count(hand, 1) > 0 && total(hand) + 10 <= 21;
}
int64_t sum_hand(const Cards& hand) {
  return usable_ace(hand) ? total(hand) + 10 : total(hand);
}
bool is_bust(const Cards& hand) {
  return sum_hand(hand) > 21;
}
int64_t score(const Cards& hand) {
  return is_bust(hand) ? 0 : sum_hand(hand);
}
bool is_natural(const Cards& hand) {
  return hand.size() == 2 && total(hand) == 11 && std::ranges::count(hand, 1) == 1;
}
Cards with(Cards hand, int64_t card) {
  hand.push_back(card);
  return hand;
}

constexpr std::array<int64_t, 13> kDeck = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10};

double reward_of(const Cards& player, const Cards& dealer, const std::string& rule) {
  const double compared = score(player) > score(dealer) ? 1 : score(player) < score(dealer) ? -1 : 0;
  if (rule == "sab" && is_natural(player) && !is_natural(dealer)) return 1;
  if (rule == "pays" && is_natural(player) && compared == 1) return 1.5;
  return compared;
}

struct Ending {
  Cards dealer;
  double probability;
};

// The dealer draws to 17: all that he may end with.
void play_dealer(const Ending& so_far, std::vector<Ending>& endings) {
  if (so_far.dealer.size() >= 2 && sum_hand(so_far.dealer) >= 17) return endings.push_back(so_far);
  for (int64_t card = 1; card <= 10; ++card) {
    const auto n = static_cast<double>(std::ranges::count(kDeck, card));
    play_dealer({with(so_far.dealer, card), so_far.probability * n / 13}, endings);
  }
}

// Cards that make a hand; hard sums hold no ace, which would not count 11 anyway.
Cards cards_of(const BlackjackHand& hand) {
  if (hand.natural) return {1, 10};
  if (hand.usable_ace) return hand.sum == 21 ? Cards{1, 5, 5} : Cards{1, hand.sum - 11};
  Cards cards = {2};
  while (total(cards) < hand.sum) cards.push_back(std::min<int64_t>(10, hand.sum - total(cards)));
  return cards;
}

std::vector<BlackjackHand> all_hands() {
  std::vector<BlackjackHand> hands;
  for (int64_t dealer = 1; dealer <= 10; ++dealer) {
    for (int64_t sum = 4; sum <= 21; ++sum) hands.push_back({.sum = sum, .dealer = dealer});
    for (int64_t sum = 12; sum <= 21; ++sum) hands.push_back({.sum = sum, .usable_ace = true, .dealer = dealer});
    hands.push_back({.sum = 21, .usable_ace = true, .dealer = dealer, .natural = true});
  }
  return hands;
}

constexpr int64_t kOver = 290;
constexpr int64_t kStick = static_cast<int64_t>(BlackjackAction::stick);
constexpr int64_t kHit = static_cast<int64_t>(BlackjackAction::hit);

void expect_equal(const Outcomes& is, const Outcomes& should, const std::string& hand) {
  ASSERT_EQ(is.size(), should.size()) << hand;
  for (const auto& [outcome, p] : should) {
    ASSERT_TRUE(is.contains(outcome)) << hand << " " << std::get<0>(outcome) << " " << std::get<2>(outcome);
    EXPECT_NEAR(is.at(outcome), p, 1e-12) << hand;
  }
}

class BlackjackByRule : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Naturals, BlackjackByRule, ::testing::Values("sab", "pays", "none"));

TEST_P(BlackjackByRule, StickingPaysAsGymnasiumDoes) {
  const auto mdp = blackjack({.natural = GetParam()});
  std::array<std::vector<Ending>, 11> endings;
  for (int64_t card = 1; card <= 10; ++card) play_dealer({{card}, 1}, endings[static_cast<size_t>(card)]);
  for (const BlackjackHand& hand : all_hands()) {
    const Cards player = cards_of(hand);
    Outcomes should;
    for (const Ending& end : endings[static_cast<size_t>(hand.dealer)]) {
      should[{kOver, true, reward_of(player, end.dealer, GetParam())}] += end.probability;
    }
    const int64_t s = blackjack_state(hand);
    expect_equal(outcomes_of(*mdp, s, kStick), should, mdp->state_name(s));
  }
}

TEST_P(BlackjackByRule, HittingDrawsFromAnInfiniteDeck) {
  const auto mdp = blackjack({.natural = GetParam()});
  for (const BlackjackHand& hand : all_hands()) {
    Outcomes should;
    for (const int64_t card : kDeck) {
      const Cards next = with(cards_of(hand), card);
      const int64_t s2 =
          is_bust(next)
              ? kOver
              : blackjack_state({.sum = sum_hand(next), .usable_ace = usable_ace(next), .dealer = hand.dealer});
      should[{s2, is_bust(next), is_bust(next) ? -1 : 0}] += 1.0 / 13;
    }
    const int64_t s = blackjack_state(hand);
    expect_equal(outcomes_of(*mdp, s, kHit), should, mdp->state_name(s));
  }
}

TEST_P(BlackjackByRule, TheDealIsTwoCardsAndOneOfTheDealer) {
  const auto mdp = blackjack({.natural = GetParam()});
  std::vector<double> should(static_cast<size_t>(mdp->n_states()));
  for (const int64_t first : kDeck) {
    for (const int64_t second : kDeck) {
      for (const int64_t dealer : kDeck) {
        const Cards hand = {first, second};
        should[static_cast<size_t>(blackjack_state(
            {.sum = sum_hand(hand), .usable_ace = usable_ace(hand), .dealer = dealer, .natural = is_natural(hand)}))] +=
            1.0 / (13 * 13 * 13);
      }
    }
  }
  for (size_t s = 0; s < should.size(); ++s) EXPECT_NEAR(mdp->start()[s], should[s], 1e-12) << s;
}

TEST(Blackjack, EachHandHasAStateOfItsOwn) {
  const auto mdp = blackjack({});
  std::vector<int64_t> states;
  for (const BlackjackHand& hand : all_hands()) states.push_back(blackjack_state(hand));
  std::ranges::sort(states);
  for (int64_t s = 0; s < kOver; ++s) EXPECT_EQ(states[static_cast<size_t>(s)], s);
  EXPECT_EQ(mdp->n_states(), kOver + 1);
  EXPECT_TRUE(mdp->is_terminal(kOver));
  EXPECT_EQ(n_terminal(*mdp), 1);
}

TEST(Blackjack, StatesAreNamedAsPlayersCallThem) {
  const auto mdp = blackjack({});
  EXPECT_EQ(mdp->state_name(blackjack_state({.sum = 16, .dealer = 10})), "16 hard against 10");
  EXPECT_EQ(mdp->state_name(blackjack_state({.sum = 17, .usable_ace = true, .dealer = 1})), "17 soft against ace");
}

TEST(Blackjack, RefusesAHandThatCannotBe) {
  for (const BlackjackHand& hand : {BlackjackHand{.sum = 22, .dealer = 1},
                                    {.sum = 3, .dealer = 1},
                                    {.sum = 11, .usable_ace = true, .dealer = 1},
                                    {.sum = 20, .dealer = 0},
                                    {.sum = 20, .dealer = 11},
                                    {.sum = 20, .usable_ace = true, .dealer = 1, .natural = true}}) {
    EXPECT_GRADUS_ERROR(blackjack_state(hand), invalid_argument, "blackjack: there is no hand of ");
  }
}

TEST(Blackjack, RefusesAnotherRuleForNaturals) {
  EXPECT_GRADUS_ERROR(blackjack({.natural = "often"}), invalid_argument,
                      "blackjack: natural is 'often', but must be sab, pays or none");
}

}  // namespace
}  // namespace gradus::env
