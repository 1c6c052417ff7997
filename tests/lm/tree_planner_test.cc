#include "gradus/lm/tree_planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "gradus/core/rng.h"
#include "gradus/lm/draft_chances.h"
#include "gradus/lm/medusa/drafter.h"
#include "gradus/lm/repetition.h"
#include "tests/core/expect_error.h"

namespace gradus::lm {
namespace {

StepCost free_up_to(int64_t rows) {
  return [rows](int64_t n) { return n <= rows ? 1.0 : 1e9; };
}

TextGuesses random_guesses(uint64_t seed, int64_t depths, int64_t ranks) {
  Rng rng(seed, Purpose::test);
  TextGuesses text{.deepest = depths};
  for (int64_t d = 0; d < depths; ++d) {
    std::vector<Guess>& list = text.at_depth.emplace_back();
    double left = 1;
    for (int32_t r = 0; r < ranks; ++r) {
      const double p = left * rng.uniform() * 0.7;
      left -= p;
      list.push_back({.token = static_cast<int32_t>(100 * d + r), .chance = p});
    }
    std::ranges::sort(list, std::greater<>(), &Guess::chance);
  }
  return text;
}

// The sum of all nodes' chances.
double value_of(const PlannedTree& t) {
  std::vector<double> chance(t.guesses.size(), 1.0);
  double total = 0;
  for (size_t i = 1; i < chance.size(); ++i) {
    chance[i] = chance[static_cast<size_t>(t.tree.parents[i])] * t.guesses[i].chance;
    total += chance[i];
  }
  return total;
}

// The best n of all paths of ranks: chances only fall along a path, so the n largest form a tree.
double best_value(const TextGuesses& text, size_t n) {
  std::vector<double> all, last = {1.0};
  for (const std::vector<Guess>& list : text.at_depth) {
    std::vector<double> next;
    for (const double above : last) {
      for (const Guess& g : list) next.push_back(above * g.chance);
    }
    all.insert(all.end(), next.begin(), next.end());
    last = std::move(next);
  }
  std::ranges::sort(all, std::greater<>());
  double total = 0;
  for (size_t i = 0; i < std::min(n, all.size()); ++i) total += all[i];
  return total;
}

TEST(TreePlanner, TheMostGainIsThatOfTheBestNumberOfNodes) {
  const StepCost steps = [](int64_t rows) { return rows <= 16 ? 1.0 : 4.0; };
  EXPECT_DOUBLE_EQ(most_gain(1, 0, 64, 1.0, steps), 16.25);  // 65 tokens in 4, more than 16 in 1
  EXPECT_DOUBLE_EQ(most_gain(1, 0, 15, 0.5, steps), 8.5);
  EXPECT_DOUBLE_EQ(most_gain(1, 8, 15, 1.0, steps), 8.0);   // 7 nodes are free beside 8 other rows
  EXPECT_DOUBLE_EQ(most_gain(16, 0, 16, 1.0, steps), 1.0);  // none pays
}

TEST(TreePlanner, FindsTheBestTreeOfEachSize) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const TextGuesses text = random_guesses(seed, 4, 5);
    for (const int64_t n : {1, 2, 7, 30, 200}) {
      const TreePlan plan = plan_trees({&text, 1}, std::vector<int32_t>{7}, 0, n, free_up_to(n + 1));
      EXPECT_EQ(plan.trees[0].tree.size(), n + 1);
      EXPECT_NEAR(value_of(plan.trees[0]), best_value(text, static_cast<size_t>(n)), 1e-9);
      EXPECT_NEAR(plan.tokens, 1 + value_of(plan.trees[0]), 1e-9);
    }
  }
}

TEST(TreePlanner, SizesTreesByWhatRowsCost) {
  TextGuesses text{.at_depth = {{{.token = 1, .chance = 0.8}}, {{.token = 2, .chance = 0.5}}}, .deepest = 2};
  const std::vector<int32_t> last = {0};
  const auto nodes_at = [&](StepCost cost) {
    return plan_trees({&text, 1}, last, 0, 64, cost).trees[0].tree.size() - 1;
  };
  EXPECT_EQ(nodes_at([](int64_t) { return 1.0; }), 2);
  EXPECT_EQ(nodes_at([](int64_t rows) { return static_cast<double>(rows); }), 0);  // a row more, a pass more
  EXPECT_EQ(nodes_at([](int64_t rows) { return 1.0 + 0.5 * static_cast<double>(rows); }), 1);  // 1.8/2 > 2.2/2.5
  EXPECT_EQ(nodes_at([](int64_t rows) { return rows == 2 ? 5.0 : 1.0; }), 2);                  // over a cliff
}

TEST(TreePlanner, SharesNodesAmongTextsByWhatTheyPromise) {
  TextGuesses sure{.at_depth = {{{.token = 1, .chance = 0.9}}, {{.token = 2, .chance = 0.9}}}, .deepest = 2};
  TextGuesses unsure{.at_depth = {{{.token = 1, .chance = 0.1}}, {{.token = 2, .chance = 0.1}}}, .deepest = 2};
  const std::vector<TextGuesses> texts = {unsure, sure};
  const TreePlan plan = plan_trees(texts, std::vector<int32_t>{5, 6}, 0, 2, free_up_to(100));
  EXPECT_EQ(plan.trees[0].tree.size(), 1);
  EXPECT_EQ(plan.trees[1].tree.tokens, (std::vector<int32_t>{6, 1, 2}));
}

TEST(TreePlanner, MergesAPathThatAgreesAndKeepsToTheDepth) {
  TextGuesses text{.at_depth = {{{.token = 1, .chance = 0.6}}}, .deepest = 3};
  for (int32_t token : {1, 2, 3, 4}) text.path.push_back({.token = token, .chance = 0.5, .source = 9});
  const TreePlan plan = plan_trees({&text, 1}, std::vector<int32_t>{0}, 0, 64, free_up_to(100));
  EXPECT_EQ(plan.trees[0].tree.tokens, (std::vector<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(plan.trees[0].tree.parents, (std::vector<int32_t>{-1, 0, 1, 2}));
}

TEST(DraftChances, BecomeWhatWasSeen) {
  DraftChances chances;
  EXPECT_DOUBLE_EQ(chances.chance(0.3), 0.3);
  Rng rng(1, Purpose::test);
  for (int i = 0; i < 400; ++i) chances.observe(0.9, rng.uniform() < 0.25);
  EXPECT_NEAR(chances.chance(0.9), 0.25, 0.07);
  EXPECT_DOUBLE_EQ(chances.chance(0.1), 0.1);
}

TEST(Repetition, IsTheLongestAndOfThoseTheLast) {
  const std::vector<int32_t> text = {1, 2, 3, 9, 5, 1, 2, 3, 7, 2, 3, 8, 1, 2, 3};
  Repetition r = find_repetition(text, 2, 16, 4);
  EXPECT_EQ(r.length, 3);
  EXPECT_EQ((std::vector<int32_t>{r.continuation.begin(), r.continuation.end()}), (std::vector<int32_t>{7, 2, 3, 8}));
  r = find_repetition(text, 2, 2, 2);  // as long as it may be: the last place
  EXPECT_EQ((std::vector<int32_t>{r.continuation.begin(), r.continuation.end()}), (std::vector<int32_t>{8, 1}));
  EXPECT_EQ(find_repetition(text, 4, 16, 4).length, 0);
  EXPECT_EQ(find_repetition({}, 1, 16, 4).length, 0);
  EXPECT_EQ(find_repetition(std::vector<int32_t>{4}, 1, 16, 4).length, 0);
  EXPECT_EQ(find_repetition(std::vector<int32_t>{4, 4, 4}, 1, 16, 4).continuation.size(), 1u);
}

TEST(MedusaChoices, AreReadSortedAndChecked) {
  EXPECT_EQ(parse_choices("[[1], [0, 0], [0]]", "tree"), (MedusaChoices{{0}, {1}, {0, 0}}));
  const int64_t widths[] = {2, 1};
  EXPECT_EQ(cartesian_choices(widths), (MedusaChoices{{0}, {1}, {0, 0}, {1, 0}}));
  EXPECT_EQ(chain_choices(3), (MedusaChoices{{0}, {0, 0}, {0, 0, 0}}));
  EXPECT_GRADUS_ERROR(parse_choices("[[0, 1]]", "tree"), corrupt, "the path [0, 1] has no node above it");
  EXPECT_GRADUS_ERROR(parse_choices("[[0], [0]]", "tree"), corrupt, "the path [0] is there twice");
  EXPECT_GRADUS_ERROR(parse_choices("[[-1]]", "tree"), corrupt, "-1 is no rank");
  EXPECT_GRADUS_ERROR(parse_choices("[[]]", "tree"), corrupt, "[] is no list of ranks");
  EXPECT_GRADUS_ERROR(parse_choices("{}", "tree"), corrupt, "a list of lists");
  const int64_t wide[] = {20, 20};
  EXPECT_GRADUS_ERROR(cartesian_choices(wide), invalid_argument, "more than 255 nodes");
  EXPECT_GRADUS_ERROR(MedusaDrafter(nullptr, 2, {.choices = chain_choices(3)}), invalid_argument,
                      "but there are 0 heads");
}

}  // namespace
}  // namespace gradus::lm
