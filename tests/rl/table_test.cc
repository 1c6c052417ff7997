#include "gradus/rl/tabular/table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace gradus::rl {
namespace {

// How often each of 0 .. n - 1 came, within five deviations of a binomial distribution.
void expect_shares(const std::vector<int64_t>& counts, const std::vector<double>& shares) {
  double total = 0;
  for (const int64_t c : counts) total += static_cast<double>(c);
  for (size_t i = 0; i < counts.size(); ++i) {
    const double p = shares[i];
    EXPECT_NEAR(static_cast<double>(counts[i]), total * p, 5 * std::sqrt(total * p * (1 - p)) + 1e-9) << "of " << i;
  }
}

template <class Draw>
std::vector<int64_t> count(int64_t n, int64_t draws, Draw draw_one) {
  std::vector<int64_t> counts(static_cast<size_t>(n));
  for (int64_t i = 0; i < draws; ++i) ++counts[static_cast<size_t>(draw_one())];
  return counts;
}

TEST(Greatest, EqualsAPlainLoopForAnyNumberOfActions) {
  Rng rng(1, Purpose::test);
  for (int64_t n = 1; n <= 20; ++n) {
    for (int i = 0; i < 500; ++i) {
      std::vector<double> q;
      for (int64_t a = 0; a < n; ++a) q.push_back(static_cast<double>(rng.below(4)) - 2);  // with many ties
      Greatest expected{.value = q[0], .first = 0, .n = 0};
      for (size_t a = 0; a < q.size(); ++a) {
        if (q[a] > expected.value) expected = {.value = q[a], .first = static_cast<int64_t>(a), .n = 0};
        if (q[a] == expected.value) ++expected.n;
      }
      const Greatest g = greatest(q);
      ASSERT_EQ(g.value, expected.value) << n;
      ASSERT_EQ(g.first, expected.first) << n;
      ASSERT_EQ(g.n, expected.n) << n;
      ASSERT_EQ(max_of(q), expected.value);
    }
  }
}

TEST(Pick, IsUniform) {
  Rng rng(1, Purpose::test);
  for (const int64_t n : {1, 2, 3, 7}) {
    expect_shares(count(n, 100'000, [&] { return pick(n, rng); }),
                  std::vector<double>(static_cast<size_t>(n), 1 / static_cast<double>(n)));
  }
}

TEST(Greedy, BreaksTiesAtRandom) {
  Rng rng(1, Purpose::test);
  const std::vector<double> q = {1, 3, 2, 3, 3};
  expect_shares(count(5, 100'000, [&] { return greedy(q, rng); }), {0, 1. / 3, 0, 1. / 3, 1. / 3});
  const std::vector<double> many(12, -1.0);
  expect_shares(count(12, 100'000, [&] { return greedy(many, rng); }), std::vector<double>(12, 1. / 12));
}

TEST(Greedy, TakesTheOnlyBestOne) {
  Rng rng(1, Purpose::test);
  const std::vector<double> q = {-5, -1, -3};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(greedy(q, rng), 1);
}

TEST(EpsilonGreedy, HasTheProbabilitiesOfItsPolicy) {
  Table Q(1, 4);
  Q(0, 1) = Q(0, 3) = 1;
  for (const double eps : {0.0, 0.01, 0.1, 0.5, 1.0}) {
    SCOPED_TRACE(eps);
    Rng rng(1, Purpose::test);
    EpsilonGreedy choose(eps, rng);
    const Table pi = epsilon_greedy_policy(Q, eps);
    expect_shares(count(4, 200'000, [&] { return choose(Q[0]); }), {pi.values().begin(), pi.values().end()});
  }
}

// Many short episodes have the same probabilities: the first steps are not special.
TEST(EpsilonGreedy, ExploresFromTheFirstStep) {
  const std::vector<double> q = {1, 0};
  for (const double eps : {0.0, 0.1, 0.5, 1.0}) {
    SCOPED_TRACE(eps);
    for (const int64_t step : {1, 2, 3}) {
      expect_shares(count(2, 50'000,
                          [&, i = uint64_t{0}]() mutable {
                            Rng rng(1, Purpose::test, i++);
                            EpsilonGreedy choose(eps, rng);
                            int64_t a = 0;
                            for (int64_t t = 0; t < step; ++t) a = choose(q);
                            return a;
                          }),
                    {1 - eps / 2, eps / 2});
    }
  }
}

// With one greedy action among very many, what is not greedy shows a random step. The number of greedy steps between
// two of them has P(gap = k) = (1 - eps)^k eps.
TEST(EpsilonGreedy, GapsBetweenRandomStepsAreGeometric) {
  constexpr int64_t kActions = 10'000;  // of random steps, one in as many is not seen
  std::vector<double> q(kActions, 0.0);
  q[0] = 1;
  for (const double eps : {0.1, 0.5}) {
    SCOPED_TRACE(eps);
    Rng rng(1, Purpose::test);
    EpsilonGreedy choose(eps, rng);
    std::vector<int64_t> gaps(8);  // 7: and more
    for (int64_t i = 0, gap = 0; i < 20'000; ++i) {
      if (choose(q, {.value = 1, .first = 0, .n = 1}) == 0) {
        ++gap;
      } else {
        ++gaps[static_cast<size_t>(std::min<int64_t>(gap, 7))];
        gap = 0;
      }
    }
    std::vector<double> shares;
    for (int k = 0; k < 7; ++k) shares.push_back(std::pow(1 - eps, k) * eps);
    shares.push_back(std::pow(1 - eps, 7));
    expect_shares(gaps, shares);
  }
}

TEST(Draw, FollowsThePolicy) {
  Rng rng(1, Purpose::test);
  for (const std::vector<double>& pi : {std::vector<double>{1}, {0, 1}, {1, 0}, {0.2, 0, 0.5, 0.3, 0}, {0.01, 0.99}}) {
    expect_shares(count(std::ssize(pi), 100'000, [&] { return draw(pi, rng); }), pi);
  }
}

// Probabilities that rounding leaves a little short of one.
TEST(Draw, NeverTakesWhatIsImpossible) {
  const std::vector<double> pi = {0, 0.5, 0.4999, 0};
  Rng rng(1, Purpose::test);
  const std::vector<int64_t> counts = count(4, 200'000, [&] { return draw(pi, rng); });
  EXPECT_EQ(counts[0] + counts[3], 0);
}

TEST(Policy, EpsilonGreedySharesAmongTheBest) {
  Table Q(2, 4);
  Q(0, 2) = 1;
  Q(1, 0) = 1;
  Q(1, 3) = 1 - 1e-12;
  EXPECT_EQ(epsilon_greedy_policy(Q, 0.4, 1e-9), [] {
    Table pi(2, 4, 0.1);
    pi(0, 2) += 0.6;
    pi(1, 0) += 0.3;
    pi(1, 3) += 0.3;
    return pi;
  }());
  EXPECT_EQ(first_greedy_policy(Q, 0.4, 1e-9), [] {
    Table pi(2, 4, 0.1);
    pi(0, 2) += 0.6;
    pi(1, 0) += 0.6;
    return pi;
  }());
}

}  // namespace
}  // namespace gradus::rl
