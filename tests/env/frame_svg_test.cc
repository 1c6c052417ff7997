#include "gradus/env/frame_svg.h"

#include <cmath>
#include <set>

#include "gradus/env/catalogue.h"
#include "tests/core/expect_error.h"
#include "tests/core/well_formed.h"

namespace gradus::env {
namespace {

using gradus::testing::is_well_formed;
using ::testing::HasSubstr;
using ::testing::Not;

// A dot of radius 1 in a view of 10 x 10, by default in its lower left corner.
Frame dot(Pose pose = {}, std::string_view colour = "#112233") {
  Frame f{.width = 10, .height = 10, .seconds = 0.5};
  f.shapes = {{circle({0, 0}, 1, colour), pose}};
  return f;
}

std::string svg_of(const std::vector<Frame>& frames) {
  return animated_svg(frames);
}

TEST(AnimatedSvg, AStillShapeIsNotAnimated) {
  const std::string svg = svg_of({dot(), dot()});
  EXPECT_THAT(svg, HasSubstr("<circle cx=\"0\" cy=\"0\" r=\"60\" fill=\"#112233\"/>"));
  EXPECT_THAT(svg, Not(HasSubstr("animate")));
}

TEST(AnimatedSvg, UpIsUpAndTheViewsCornerIsThePicturesCorner) {
  const std::string svg = svg_of({dot({.x = 1, .y = 2})});
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 600 600\""));
  EXPECT_THAT(svg, HasSubstr("<g transform=\"translate(0 600)\""));
  EXPECT_THAT(svg, HasSubstr("<g transform=\"translate(60 -120)\">"));
}

TEST(AnimatedSvg, AMovingShapeTakesEachPlaceAndHoldsTheLastForASecond) {
  const std::string svg = svg_of({dot(), dot({.x = 1}), dot({.x = 2})});
  EXPECT_THAT(svg, HasSubstr("type=\"translate\" dur=\"2s\" repeatCount=\"indefinite\" "
                             "values=\"0 0;60 0;120 0;120 0;120 0\""));
}

TEST(AnimatedSvg, ATurnTakesTheShorterWay) {
  const double pi = std::acos(-1);
  const std::string svg = svg_of({dot({.angle_rad = 0.75 * pi}), dot({.angle_rad = -0.75 * pi})});
  EXPECT_THAT(svg, HasSubstr("values=\"-135;-225;-225;-225\""));
}

TEST(AnimatedSvg, ShapesThatMoveTogetherShareTheirMotion) {
  std::vector<Frame> frames = {dot(), dot({.x = 1})};
  for (Frame& f : frames) f.shapes.push_back(f.shapes[0]);
  const std::string svg = svg_of(frames);
  EXPECT_EQ(svg.find("animateTransform"), svg.rfind("animateTransform"));
}

TEST(AnimatedSvg, AChangedLookReplacesTheOther) {
  const std::string svg = svg_of({dot({}, "#000000"), dot({}, "#ffffff"), dot({}, "#000000")});
  EXPECT_THAT(svg, HasSubstr("fill=\"#000000\"><animate attributeName=\"visibility\" calcMode=\"discrete\" dur=\"2s\" "
                             "repeatCount=\"indefinite\" values=\"visible;hidden;visible\" keyTimes=\"0;0.25;0.5\"/>"));
  EXPECT_THAT(svg, HasSubstr("fill=\"#ffffff\" visibility=\"hidden\"><animate"));
  EXPECT_THAT(svg, HasSubstr("values=\"hidden;visible;hidden\""));
}

TEST(AnimatedSvg, AMissingShapeIsHidden) {
  Frame empty = dot();
  empty.shapes.clear();
  EXPECT_THAT(svg_of({dot(), empty}), HasSubstr("values=\"visible;hidden\""));
  EXPECT_TRUE(is_well_formed(svg_of({empty})));
}

// A dot that moves a unit per frame, from `first` on.
std::vector<Frame> walk(int first, int frames) {
  std::vector<Frame> walk;
  for (int t = 0; t < frames; ++t) walk.push_back(dot({.x = static_cast<double>(first + t)}));
  return walk;
}

TEST(AnimatedSvg, EpisodesFollowOneAnotherAndTheLastFrameOfEachIsHeld) {
  const std::vector<std::vector<Frame>> episodes = {walk(0, 2), walk(5, 2)};
  EXPECT_THAT(animated_svg(episodes, 100'000), HasSubstr("dur=\"3.5s\" repeatCount=\"indefinite\" "
                                                         "values=\"0 0;60 0;60 0;60 0;300 0;360 0;360 0;360 0\""));
}

TEST(AnimatedSvg, ALongFilmShowsFewerFramesInTheSameTime) {
  const std::vector<std::vector<Frame>> episode = {walk(0, 8)};
  const size_t whole = animated_svg(episode, 100'000).size();
  EXPECT_THAT(animated_svg(episode, whole - 1),
              HasSubstr("dur=\"5s\" repeatCount=\"indefinite\" values=\"0 0;120 0;240 0;360 0;420 0;420 0\""));
  EXPECT_THAT(animated_svg(episode, 0), HasSubstr("values=\"0 0;420 0\""));
}

TEST(AnimatedSvg, RefusesWhatCannotBeDrawn) {
  Frame other = dot();
  other.width = 20;
  EXPECT_GRADUS_ERROR(svg_of({}), invalid_argument, "animated_svg: there is no frame");
  EXPECT_GRADUS_ERROR(svg_of({dot(), other}), invalid_argument, "frame 1 has another view than the first");
  EXPECT_GRADUS_ERROR(svg_of({dot({.x = std::nan("")})}), invalid_argument, "frame 0 has a number that is not finite");
  other.width = 0;
  EXPECT_GRADUS_ERROR(svg_of({other}), invalid_argument, "the view is 0 x 10");
}

// Two random episodes of each environment that draws itself.
TEST(AnimatedSvg, EpisodesMakeSmallWellFormedFiles) {
  std::set<std::string> drawn;
  for (const NamedEnvironment& e : environments()) {
    EnvConfig c;
    c.name = e.name;
    c.max_episode_steps = 200;
    const auto env = make_env(c);
    env->reset(1);
    if (!env->frame()) continue;
    drawn.emplace(e.name);
    Rng rng(1, Purpose::test);
    std::vector<double> action(static_cast<size_t>(size_of(env->spec().action_space)));
    std::vector<Frame> frames;
    for (int episode = 0; episode < 2; ++episode) {
      env->reset();
      frames.push_back(*env->frame());
      for (bool over = false; !over;) {
        sample(env->spec().action_space, rng, action);
        const StepResult r = env->step(action);
        frames.push_back(*env->frame());
        over = r.terminated || r.truncated;
      }
    }
    const std::string svg = svg_of(frames);
    EXPECT_LT(svg.size(), 200'000u) << e.name;
    EXPECT_THAT(svg, HasSubstr("animateTransform")) << e.name;
    EXPECT_TRUE(is_well_formed(svg)) << e.name;
    EXPECT_EQ(svg, svg_of(frames));
  }
  EXPECT_EQ(drawn, (std::set<std::string>{"acrobot", "cartpole", "cliff", "frozenlake", "grid", "lunarlander",
                                          "lunarlander-continuous", "mountaincar", "mountaincar-continuous", "pendulum",
                                          "windy"}));
}

}  // namespace
}  // namespace gradus::env
