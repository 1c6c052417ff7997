#include "gradus/env/grid_frame.h"

#include <gtest/gtest.h>

#include "gradus/env/catalogue.h"
#include "gradus/env/finite_env.h"

namespace gradus::env {
namespace {

TEST(GridFrame, TheDiscIsWhereTheStateIs) {
  GridWorldConfig c;
  c.map = "...\n.#T\n";
  FiniteEnv env(grid_world(c), {.id = "grid"});
  for (int32_t s = 0; s < 6; ++s) {
    env.begin_at(s);
    const Frame f = env.frame().value();
    EXPECT_EQ(f.shapes.back().pose, (Pose{.x = s % 3 + 0.5, .y = 1.5 - s / 3})) << s;
  }
}

TEST(GridFrame, AStateThatThePictureDoesNotShowIsHidden) {
  const GridPicture p{.rows = 1, .columns = 1, .cells = {GridPicture::Cell::wall}, .state_of = {-1}};
  EXPECT_EQ(grid_frame(p, 0).value().shapes.back().pose.scale, 0);
}

TEST(GridFrame, WithoutAPlaneAndOnAVastOneThereIsNone) {
  EnvConfig c;
  c.name = "blackjack";
  EXPECT_FALSE(make_env(c)->frame());
  const GridPicture vast{.rows = 100,
                         .columns = 100,
                         .cells = std::vector(10000, GridPicture::Cell::plain),
                         .state_of = std::vector<int32_t>(10000)};
  EXPECT_FALSE(grid_frame(vast, 0));
}

}  // namespace
}  // namespace gradus::env
