#include "gradus/lm/draw.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tests/lm/small_model.h"

namespace gradus::lm {
namespace {

const std::vector<float> kLogits = {1.5f, -0.5f, 3.0f, 2.5f, -2.0f, 0.0f, 2.5f, 1.0f};
const Tensor kRow = Tensor::from<float>(kLogits, {1, 8});

// What probability each token is drawn with, on a grid of uniforms.
std::map<int32_t, double> drawn_shares(double temperature, const DrawFilters& filters, std::vector<int32_t> text = {},
                                       int64_t prompt_tokens = 0) {
  constexpr int kGrid = 4000;
  std::vector<DrawRequest> requests;
  for (int i = 0; i < kGrid; ++i) {
    const float u = (static_cast<float>(i) + 0.5f) / kGrid;
    requests.push_back({.row = 0, .uniform = u, .text = text, .prompt_tokens = prompt_tokens});
  }
  TokenDrawer drawer;
  drawer.draw(kRow, temperature, filters, requests, 8);
  std::map<int32_t, double> shares;
  for (const kernels::TokenDraw& d : drawer.draws()) shares[d.id] += 1.0 / kGrid;
  return shares;
}

// softmax of the tokens of `kept`, with the given logits.
std::map<int32_t, double> softmax_of(std::vector<int32_t> kept, double temperature, std::vector<float> z = kLogits) {
  std::map<int32_t, double> p;
  double total = 0;
  for (const int32_t id : kept)
    total += p[id] = std::exp(static_cast<double>(z[static_cast<size_t>(id)]) / temperature);
  for (auto& [id, x] : p) x /= total;
  return p;
}

void expect_near(const std::map<int32_t, double>& got, const std::map<int32_t, double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [id, p] : want) EXPECT_NEAR(got.at(id), p, 2e-3) << id;
}

const std::vector<int32_t> kAll = {0, 1, 2, 3, 4, 5, 6, 7};

TEST(Draw, TopKKeepsTheLikeliest) {
  expect_near(drawn_shares(0.7, {.top_k = 3}), softmax_of({2, 3, 6}, 0.7));
  expect_near(drawn_shares(0.7, {.top_k = 2}), softmax_of({2, 3}, 0.7));  // of equals the lower id
  expect_near(drawn_shares(1.0, {.top_k = 100}), softmax_of(kAll, 1.0));
}

TEST(Draw, TopPKeepsTheFewestThatReachIt) {
  const auto p = softmax_of(kAll, 1.0);
  expect_near(drawn_shares(1.0, {.top_p = p.at(2) * 0.99}), softmax_of({2}, 1.0));
  expect_near(drawn_shares(1.0, {.top_p = p.at(2) * 1.01}), softmax_of({2, 3}, 1.0));
  expect_near(drawn_shares(1.0, {.top_p = (p.at(2) + p.at(3)) * 1.01}), softmax_of({2, 3, 6}, 1.0));
}

TEST(Draw, MinPIsAShareOfTheLikeliest) {
  expect_near(drawn_shares(1.0, {.min_p = 0.5}), softmax_of({2, 3, 6}, 1.0));  // e^-0.5 = .61, e^-1.5 = .22
  expect_near(drawn_shares(1.0, {.min_p = 0.2}), softmax_of({0, 2, 3, 6}, 1.0));
}

TEST(Draw, FiltersApplyOneAfterTheOther) {
  // top_p counts among the top_k, min_p among what top_p left.
  const auto top = softmax_of({2, 3, 6}, 1.0);
  expect_near(drawn_shares(1.0, {.top_k = 3, .top_p = (top.at(2) + top.at(3)) * 0.99}), softmax_of({2, 3}, 1.0));
}

TEST(Draw, PenaltiesChangeTheLogitsOfTheText) {
  std::vector<float> z = kLogits;
  z[2] = 3.0f / 1.5f, z[4] = -2.0f * 1.5f;
  expect_near(drawn_shares(1.0, {.repetition_penalty = 1.5}, {2, 4, 2}), softmax_of(kAll, 1.0, z));
  z = kLogits;
  z[2] -= 0.5f + 2 * 0.25f, z[0] -= 0.75f;  // of the response alone; the prompt is token 7
  expect_near(drawn_shares(1.0, {.presence_penalty = 0.5, .frequency_penalty = 0.25}, {7, 2, 0, 2}, 1),
              softmax_of(kAll, 1.0, z));
}

TEST(Draw, GreedyTakesTheLargestPenalisedLogit) {
  EXPECT_EQ(drawn_shares(0, {.top_k = 5}), (std::map<int32_t, double>{{2, drawn_shares(0, {}).at(2)}}));
  EXPECT_EQ(drawn_shares(0, {.repetition_penalty = 2}, {2}).begin()->first, 3);
}

TEST(Draw, LogProbsAreTheModels) {
  const std::vector<DrawRequest> requests = {{.row = 0, .uniform = 0.3f}};
  for (const double temperature : {1.0, 0.7}) {
    TokenDrawer plain, narrow;
    plain.draw(kRow, temperature, {}, requests, 8);
    narrow.draw(kRow, temperature, {.top_k = 8}, requests, 8);
    EXPECT_EQ(plain.draws()[0].id, narrow.draws()[0].id);
    EXPECT_EQ(plain.draws()[0].log_prob, narrow.draws()[0].log_prob);
    narrow.draw(kRow, temperature, {.top_k = 1}, requests, 8);
    EXPECT_FLOAT_EQ(narrow.draws()[0].log_prob, static_cast<float>(std::log(softmax_of(kAll, temperature).at(2))));
  }
}

TEST(Draw, SettingsThatMakeNoSenseAreErrors) {
  for (const DrawFilters& bad :
       {DrawFilters{.top_k = -1}, DrawFilters{.top_p = 0}, DrawFilters{.top_p = 1.5}, DrawFilters{.min_p = -0.1},
        DrawFilters{.repetition_penalty = 0}, DrawFilters{.presence_penalty = NAN}}) {
    EXPECT_EQ(kernels::error_code_of([&] { bad.check(); }), ErrorCode::invalid_argument);
  }
}

TEST(StopStrings, EndAResponseAndAreNamed) {
  Model model = small_model();
  const std::vector<std::vector<int32_t>> prompts = random_prompts(std::vector<int64_t>(12, 4));
  const std::vector<SampleRequest> requests = requests_of(prompts);
  const std::vector<Sample> free = Sampler(model, {.max_tokens = 40}).generate(requests);
  // Two characters of each of some texts, across the border of two tokens.
  const auto text_of = [&](const Sample& s) { return model.tokenizer().decode(s.tokens); };
  std::vector<std::string> stops;
  for (const Sample& s : free) {
    if (s.tokens.size() >= 20) stops.push_back(text_of(s).substr(9, 2));
  }
  ASSERT_GE(stops.size(), 3u);
  const std::vector<Sample> cut = Sampler(model, {.max_tokens = 40, .stop = stops}).generate(requests);
  for (size_t i = 0; i < cut.size(); ++i) {
    const std::string whole = text_of(free[i]), text = text_of(cut[i]);
    EXPECT_TRUE(whole.starts_with(text));
    size_t first = std::string::npos;
    for (const std::string& stop : stops) {
      if (const size_t at = whole.find(stop); at != std::string::npos) first = std::min(first, at + stop.size());
    }
    EXPECT_EQ(text.size(), std::min(first, whole.size()));
    EXPECT_EQ(cut[i].stop.empty(), first == std::string::npos);
    EXPECT_TRUE(text.ends_with(cut[i].stop));
    EXPECT_TRUE(cut[i].ended || cut[i].stop.empty());
  }
}

}  // namespace
}  // namespace gradus::lm
