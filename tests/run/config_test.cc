#include "gradus/run/config.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>

#include "errors.h"

namespace gradus::run {
namespace {

struct Inner {
  int64_t iterations = 40;
  double tau = 0.5;
  std::vector<int64_t> stages = {4, 6};
  template <class F>
  void fields(F& f) {
    f("iterations", iterations, "RL iterations");
    f("tau", tau, "pull towards the sampler");
    f("stages", stages, "operators by stage");
  }
};

struct Outer {
  int64_t seed = 0;
  Inner k15;
  bool medusa = false;
  std::string data = "none";
  std::vector<std::string> styles = {"long"};
  template <class F>
  void fields(F& f) {
    f("seed", seed, "key of all randomness");
    f.section("k15", k15);
    f("medusa", medusa, "draft tokens");
    f("data", data, "rows to train on");
    f("styles", styles, "styles of answers");
  }
};

Outer from_text(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return read_config<Outer>({{"chain.toml", text}}, overrides);
}
Outer from_overrides(const std::vector<std::string>& overrides) {
  return read_config<Outer>({}, overrides);
}

TEST(Config, DefaultsStandWhereNothingIsGiven) {
  const Outer c = from_text("");
  EXPECT_EQ(c.k15.iterations, 40);
  EXPECT_EQ(c.data, "none");
}

TEST(Config, TextSetsEveryType) {
  const Outer c = from_text(
      "seed = 7\nmedusa = true\ndata = \"a#b.jsonl\"\nstyles = [\"long\", \"short\"]\n[k15]\niterations = 3\ntau = "
      "1\nstages = [1, "
      "2]\n");
  EXPECT_EQ(c.seed, 7);
  EXPECT_TRUE(c.medusa);
  EXPECT_EQ(c.data, "a#b.jsonl");
  EXPECT_EQ(c.styles, (std::vector<std::string>{"long", "short"}));
  EXPECT_EQ(c.k15.iterations, 3);
  EXPECT_EQ(c.k15.tau, 1.0);
  EXPECT_EQ(c.k15.stages, (std::vector<int64_t>{1, 2}));
}

TEST(Config, LaterSourcesWin) {
  const Outer c = read_config<Outer>(
      {{"preset", "seed = 1\n[k15]\niterations = 1\ntau = 2.0"}, {"mine.toml", "k15.iterations = 2"}},
      {"seed=3", "seed=4"});
  EXPECT_EQ(c.seed, 4);
  EXPECT_EQ(c.k15.iterations, 2);
  EXPECT_EQ(c.k15.tau, 2.0);
}

TEST(Config, OverridesMayDropQuotesAndBrackets) {
  const Outer c = from_overrides({"data=runs/x y.jsonl", "k15.stages=4,6,8", "styles=long, short", "k15.tau=1e-3"});
  EXPECT_EQ(c.data, "runs/x y.jsonl");
  EXPECT_EQ(c.k15.stages, (std::vector<int64_t>{4, 6, 8}));
  EXPECT_EQ(c.styles, (std::vector<std::string>{"long", "short"}));
  EXPECT_EQ(c.k15.tau, 1e-3);
  EXPECT_EQ(from_overrides({"styles=[a, b]"}).styles, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(from_overrides({"k15.stages=[4, 6]"}).k15.stages, (std::vector<int64_t>{4, 6}));
  EXPECT_EQ(from_overrides({"k15.stages=[]"}).k15.stages, (std::vector<int64_t>{}));
  EXPECT_EQ(from_overrides({"data=\"a b\""}).data, "a b");
  EXPECT_EQ(from_overrides({"data=2024"}).data, "2024");
  EXPECT_EQ(from_overrides({"data=a=b"}).data, "a=b");
}

TEST(Config, ExponentIsAnIntegerWhereItIsWhole) {
  EXPECT_EQ(from_overrides({"seed=1e3"}).seed, 1000);
  EXPECT_EQ(from_overrides({"seed=1_000"}).seed, 1000);
  EXPECT_THAT(error_of([] { from_overrides({"seed=1.5"}); }),
              Throws(ErrorCode::invalid_argument, "seed is an integer, but the override gives '1.5'"));
  EXPECT_THAT(error_of([] { from_overrides({"seed=1e300"}); }),
              Throws(ErrorCode::invalid_argument, "seed is an integer"));
}

TEST(Config, UnknownKeyNamesSourceAndNearestKey) {
  EXPECT_THAT(error_of([] { from_text("seed = 1\n\n[k15]\niteratons = 3\n"); }),
              Throws(ErrorCode::invalid_argument,
                     "unknown key k15.iteratons (chain.toml line 4); the nearest known key is k15.iterations"));
  EXPECT_THAT(error_of([] { from_overrides({"iterations=3"}); }),
              Throws(ErrorCode::invalid_argument,
                     "unknown key iterations (override); the nearest known key is k15.iterations"));
  EXPECT_THAT(
      error_of([] { from_text("[k51]\ntau = 3\n"); }),
      Throws(ErrorCode::invalid_argument, "unknown key k51.tau (chain.toml line 2); the nearest known key is k15.tau"));
  EXPECT_THAT(error_of([] { from_text("seed.x = 3\n"); }), Throws(ErrorCode::invalid_argument, "seed is an integer"));
}

TEST(Config, WrongTypeNamesKeyTypeAndValue) {
  EXPECT_THAT(error_of([] { from_text("[k15]\niterations = \"ten\"\n"); }),
              Throws(ErrorCode::invalid_argument, "k15.iterations is an integer, but chain.toml line 2 gives"));
  EXPECT_THAT(error_of([] { from_text("[k15]\niterations = \"ten\"\n"); }), Throws(ErrorCode::invalid_argument, "ten"));
  EXPECT_THAT(error_of([] { from_text("medusa = 1\n"); }),
              Throws(ErrorCode::invalid_argument, "medusa is true or false"));
  EXPECT_THAT(error_of([] { from_text("data = 1\n"); }), Throws(ErrorCode::invalid_argument, "data is a text"));
  EXPECT_THAT(error_of([] { from_text("k15.stages = [1, \"x\"]\n"); }),
              Throws(ErrorCode::invalid_argument, "k15.stages is a list of integers"));
  EXPECT_THAT(error_of([] { from_text("k15.tau = nine\n"); }),
              Throws(ErrorCode::invalid_argument, "chain.toml line 1"));
  EXPECT_THAT(error_of([] { from_overrides({"medusa=yes"}); }),
              Throws(ErrorCode::invalid_argument, "medusa is true or false, but the override gives 'yes'"));
}

TEST(Config, SectionIsNotAValue) {
  EXPECT_THAT(error_of([] { from_text("k15 = 3\n"); }),
              Throws(ErrorCode::invalid_argument,
                     "k15 is a section (chain.toml line 1); set one of its keys, such as k15.iterations"));
  EXPECT_THAT(error_of([] { from_overrides({"k15=3"}); }),
              Throws(ErrorCode::invalid_argument, "k15 is a section (override)"));
}

TEST(Config, MalformedTextNamesTheLine) {
  EXPECT_THAT(error_of([] { from_text("seed = 1\nmedusa = = true\n"); }),
              Throws(ErrorCode::invalid_argument, "chain.toml line 2"));
  EXPECT_THAT(error_of([] { from_text("data = \"\xff\"\n"); }),
              Throws(ErrorCode::invalid_argument, "chain.toml line 1"));
  EXPECT_THAT(error_of([] { from_overrides({"seed"}); }),
              Throws(ErrorCode::invalid_argument, "not of the form key=value"));
  EXPECT_THAT(error_of([] { from_overrides({"=3"}); }),
              Throws(ErrorCode::invalid_argument, "not of the form key=value"));
}

TEST(Config, AnOverrideCannotSmuggleInASecondKey) {
  EXPECT_THAT(error_of([] { from_overrides({"seed=1\nmedusa=true"}); }),
              Throws(ErrorCode::invalid_argument, "seed is an integer"));
}

TEST(Config, WrittenTextReadsBackAsWritten) {
  EXPECT_TRUE(
      rc::check([](int64_t seed, int64_t mantissa, int exponent, bool medusa, const std::vector<int64_t>& stages) {
        Outer c;
        c.seed = seed;
        c.k15.tau = std::ldexp(static_cast<double>(mantissa), exponent % 200);
        c.medusa = medusa;
        c.k15.stages = stages;
        c.data = *rc::gen::string<std::string>();
        for (char& ch : c.data) ch = static_cast<char>(ch & 0x7f);  // TOML is UTF-8; any ASCII byte will do
        c.styles = {c.data, "", "\"\\\n\xc3\xa9"};
        const std::string text = write_config(c);
        const Outer back = from_text(text);
        RC_ASSERT(back.seed == c.seed);
        RC_ASSERT(back.k15.tau == c.k15.tau);
        RC_ASSERT(back.medusa == c.medusa);
        RC_ASSERT(back.data == c.data);
        RC_ASSERT(back.styles == c.styles);
        RC_ASSERT(back.k15.stages == c.k15.stages);
        RC_ASSERT(write_config(back) == text);
      }));
}

TEST(Config, WrittenTextHoldsTheHelp) {
  EXPECT_EQ(write_config(Outer()),
            "seed = 0  # key of all randomness\n"
            "medusa = false  # draft tokens\n"
            "data = \"none\"  # rows to train on\n"
            "styles = [\"long\"]  # styles of answers\n"
            "\n"
            "[k15]\n"
            "iterations = 40  # RL iterations\n"
            "tau = 0.5  # pull towards the sampler\n"
            "stages = [4, 6]  # operators by stage\n");
}

TEST(Config, DescriptionHasALineForEachField) {
  Outer c;
  const std::string text = describe_config(fields_of(c));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 7);
  EXPECT_NE(text.find("k15.tau         0.5       pull towards the sampler (a number)\n"), text.npos) << text;
}

}  // namespace
}  // namespace gradus::run
