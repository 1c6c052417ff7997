#include "gradus/env/lander_world.h"

#include <box2d/box2d.h>

#include <cmath>
#include <numbers>
#include <utility>

#include "gradus/core/error.h"
#include "gradus/core/rng.h"

namespace gradus::env {

namespace {

constexpr double kScale = LanderWorld::kScale;

// Pixels, as Gymnasium has them.
constexpr std::array<Point, 6> kHull = {{{-14, 17}, {-17, 0}, {-17, -10}, {17, -10}, {17, 0}, {14, 17}}};
constexpr double kLegAway = 20, kLegDown = 18, kLegHalfWidth = 2, kLegHalfHeight = 8;
constexpr double kMainEngineY = 4, kSideEngineY = 14, kSideEngineAway = 12;
constexpr double kSideEngineBack = 17;  // Gymnasium's 17 where 14 may be meant: thrust turns with the angle

constexpr double kMainPower = 13, kSidePower = 0.6;
constexpr float kLegSpring = 40, kLegSpeed = 0.3f, kLegTilt = 0.05f;
constexpr std::array<std::pair<float, float>, 2> kLegAngles = {{{0.4f, 0.9f}, {-0.9f, -0.4f}}};  // left, right
constexpr float kNoLimit = 1000;
constexpr double kStrongestWind = 1000;
constexpr int kVelocityIterations = 6 * 30, kPositionIterations = 2 * 30;
constexpr uint16_t kGroundBits = 0x0001, kHullBits = 0x0010, kLegBits = 0x0020;

b2Vec2 vec(double x, double y) {
  return {static_cast<float>(x), static_cast<float>(y)};
}

// In [-1, 1], and never periodic; k = 0.01.
double pattern(int64_t i) {
  const auto t = static_cast<double>(i);
  return std::tanh(std::sin(0.02 * t) + std::sin(std::numbers::pi * 0.01 * t));
}

}  // namespace

struct LanderWorld::Contacts final : b2ContactListener {
  explicit Contacts(const LanderWorld& owner) : world(owner) {}

  void BeginContact(b2Contact* contact) override {
    crashed |= touches(contact, world.lander_);
    for (size_t i = 0; i < legs.size(); ++i) legs[i] |= touches(contact, world.legs_[i]);
  }
  // A leg that leaves one piece of the ground counts as in the air, even where it stands on the next, as in Gymnasium.
  void EndContact(b2Contact* contact) override {
    for (size_t i = 0; i < legs.size(); ++i) legs[i] &= !touches(contact, world.legs_[i]);
  }
  static bool touches(b2Contact* contact, const b2Body* body) {
    return contact->GetFixtureA()->GetBody() == body || contact->GetFixtureB()->GetBody() == body;
  }

  const LanderWorld& world;
  bool crashed = false;
  std::array<bool, 2> legs{};
};

LanderWorld::LanderWorld(const LunarLanderConfig& config, const LanderStart& start)
    : config_(config), wind_(start.wind), turbulence_(start.turbulence) {
  require(config.gravity > -12 && config.gravity < 0, "lunarlander: gravity is {}, but must be between -12 and 0",
          config.gravity);
  require(config.wind_power >= 0 && config.wind_power <= kStrongestWind && config.turbulence_power >= 0 &&
              config.turbulence_power <= kStrongestWind,
          "lunarlander: wind_power {} or turbulence_power {} is not between 0 and {}", config.wind_power,
          config.turbulence_power, kStrongestWind);
  contacts_ = std::make_unique<Contacts>(*this);
  world_ = std::make_unique<b2World>(vec(0, config.gravity));
  world_->SetContactListener(contacts_.get());
  make_ground(start.heights);
  make_lander(start);
  for (const int side : {-1, 1}) make_leg(side);
}

LanderWorld::~LanderWorld() = default;

void LanderWorld::make_ground(const std::array<double, 12>& drawn) {
  std::array<double, 12> heights = drawn;
  for (size_t i = kChunks / 2 - 2; i <= kChunks / 2 + 2; ++i) heights[i] = kPadHeight;
  for (size_t i = 0; i < kChunks; ++i) {
    const double before = heights[(i + heights.size() - 1) % heights.size()];
    ground_[i] = {kWidth / (kChunks - 1) * static_cast<double>(i), 0.33 * (before + heights[i] + heights[i + 1])};
  }

  const b2BodyDef still;
  b2Body* moon = world_->CreateBody(&still);
  b2EdgeShape edge;
  edge.SetTwoSided(vec(0, 0), vec(kWidth, 0));
  moon->CreateFixture(&edge, 0);
  for (size_t i = 0; i + 1 < kChunks; ++i) {
    edge.SetTwoSided(vec(ground_[i].x, ground_[i].y), vec(ground_[i + 1].x, ground_[i + 1].y));
    b2FixtureDef piece;
    piece.shape = &edge;
    piece.friction = 0.1f;
    moon->CreateFixture(&piece);
  }
}

void LanderWorld::make_lander(const LanderStart& start) {
  b2BodyDef body;
  body.type = b2_dynamicBody;
  body.position = vec(kWidth / 2, kHeight);
  lander_ = world_->CreateBody(&body);

  std::array<b2Vec2, kHull.size()> corners;
  for (size_t i = 0; i < kHull.size(); ++i) corners[i] = vec(kHull[i].x / kScale, kHull[i].y / kScale);
  b2PolygonShape hull;
  hull.Set(corners.data(), static_cast<int32>(corners.size()));
  b2FixtureDef fixture;
  fixture.shape = &hull;
  fixture.density = 5;
  fixture.friction = 0.1f;
  fixture.filter.categoryBits = kHullBits;
  fixture.filter.maskBits = kGroundBits;
  lander_->CreateFixture(&fixture);
  lander_->ApplyForceToCenter(vec(start.force_x, start.force_y), true);
}

// side: -1 makes the leg that Gymnasium calls the first, 1 the second.
void LanderWorld::make_leg(int side) {
  b2BodyDef body;
  body.type = b2_dynamicBody;
  body.position = vec(kWidth / 2 - side * kLegAway / kScale, kHeight);
  body.angle = static_cast<float>(side) * kLegTilt;
  b2Body* leg = world_->CreateBody(&body);

  b2PolygonShape box;
  box.SetAsBox(static_cast<float>(kLegHalfWidth / kScale), static_cast<float>(kLegHalfHeight / kScale));
  b2FixtureDef fixture;
  fixture.shape = &box;
  fixture.density = 1;
  fixture.filter.categoryBits = kLegBits;
  fixture.filter.maskBits = kGroundBits;
  leg->CreateFixture(&fixture);

  b2RevoluteJointDef joint;
  joint.bodyA = lander_;
  joint.bodyB = leg;
  joint.localAnchorA = vec(0, 0);
  joint.localAnchorB = vec(side * kLegAway / kScale, kLegDown / kScale);
  joint.referenceAngle = leg->GetAngle() - lander_->GetAngle();  // which pybox2d sets unasked
  joint.enableMotor = true;
  joint.maxMotorTorque = kLegSpring;
  joint.motorSpeed = kLegSpeed * static_cast<float>(side);
  const size_t i = side < 0 ? 0 : 1;
  joints_[i] = static_cast<b2RevoluteJoint*>(world_->CreateJoint(&joint));
  legs_[i] = leg;
}

void LanderWorld::step(const LanderEngines& engines, std::array<double, 2> dispersion) {
  engines_ = engines;
  for (double& d : dispersion) d /= kScale;
  if (config_.wind && !contacts_->legs[0] && !contacts_->legs[1]) blow();
  if (engines.main != 0) fire_main(engines.main, dispersion);
  if (engines.side != 0) fire_side(engines.side, dispersion);
  limit_legs();
  world_->Step(static_cast<float>(1 / kStepsPerSecond), kVelocityIterations, kPositionIterations);
}

// Box2D 2.4 brakes a joint on its way to a limit, 2.3 stops it where it has reached one. A leg that hits the ground
// hard would throw the hull about otherwise than in Gymnasium, whose Box2D is 2.3; so a limit is there only once
// reached.
void LanderWorld::limit_legs() {
  for (size_t i = 0; i < joints_.size(); ++i) {
    b2RevoluteJoint& joint = *joints_[i];
    const auto [lower, upper] = kLegAngles[i];
    const float angle = joint.GetJointAngle();
    if (angle <= lower) {
      joint.SetLimits(lower, kNoLimit);
    } else if (angle >= upper) {
      joint.SetLimits(-kNoLimit, upper);
    }
    joint.EnableLimit(angle <= lower || angle >= upper);
  }
}

void LanderWorld::blow() {
  lander_->ApplyForceToCenter(vec(pattern(wind_++) * config_.wind_power, 0), true);
  lander_->ApplyTorque(static_cast<float>(pattern(turbulence_++) * config_.turbulence_power), true);
}

// Both engines in doubles, as Gymnasium, from the lander's float32 position and angle: `tip` is the sine and cosine of
// the angle, `side` is `tip` turned; o is the offset from the lander's place at which the impulse acts.
void LanderWorld::fire_main(double power, std::array<double, 2> dispersion) {
  const double angle = lander_->GetAngle();
  const Point tip{std::sin(angle), std::cos(angle)}, side{-tip.y, tip.x};
  const double along = kMainEngineY / kScale + 2 * dispersion[0];
  const double ox = tip.x * along + side.x * dispersion[1];
  const double oy = -tip.y * along - side.y * dispersion[1];
  const b2Vec2 at = vec(lander_->GetPosition().x + ox, lander_->GetPosition().y + oy);
  lander_->ApplyLinearImpulse(vec(-ox * kMainPower * power, -oy * kMainPower * power), at, true);
}

void LanderWorld::fire_side(double throttle, std::array<double, 2> dispersion) {
  const double angle = lander_->GetAngle(), power = std::abs(throttle), direction = throttle < 0 ? -1 : 1;
  const Point tip{std::sin(angle), std::cos(angle)}, side{-tip.y, tip.x};
  const double across = 3 * dispersion[1] + direction * kSideEngineAway / kScale;
  const double ox = tip.x * dispersion[0] + side.x * across;
  const double oy = -tip.y * dispersion[0] - side.y * across;
  const b2Vec2 at = vec(lander_->GetPosition().x + ox - tip.x * kSideEngineBack / kScale,
                        lander_->GetPosition().y + oy + tip.y * kSideEngineY / kScale);
  lander_->ApplyLinearImpulse(vec(-ox * kSidePower * power, -oy * kSidePower * power), at, true);
}

std::array<double, 8> LanderWorld::observation() const {
  const b2Vec2 position = lander_->GetPosition(), velocity = lander_->GetLinearVelocity();
  return {(position.x - kWidth / 2) / (kWidth / 2),
          (position.y - (kPadHeight + kLegDown / kScale)) / (kHeight / 2),
          velocity.x * (kWidth / 2) / kStepsPerSecond,
          velocity.y * (kHeight / 2) / kStepsPerSecond,
          lander_->GetAngle(),
          20.0 * lander_->GetAngularVelocity() / kStepsPerSecond,
          contacts_->legs[0] ? 1.0 : 0.0,
          contacts_->legs[1] ? 1.0 : 0.0};
}

bool LanderWorld::crashed() const {
  return contacts_->crashed;
}

bool LanderWorld::awake() const {
  return lander_->IsAwake();
}

namespace {

Pose pose_of(const b2Body& body) {
  return {.x = body.GetPosition().x, .y = body.GetPosition().y, .angle_rad = body.GetAngle()};
}

std::vector<Point> metres(std::vector<Point> pixels) {
  for (Point& p : pixels) p = {p.x / kScale, p.y / kScale};
  return pixels;
}

// A flame from the origin downwards, to be turned and placed.
std::vector<Look> flame(double length) {
  return {
      polygon({{-0.16, 0}, {-0.2, -0.3 * length}, {0, -length}, {0.2, -0.3 * length}, {0.16, 0}}, "#f28e2b"),
      polygon({{-0.08, 0}, {-0.1, -0.25 * length}, {0, -0.6 * length}, {0.1, -0.25 * length}, {0.08, 0}}, "#ffe9a8")};
}

Pose placed(const b2Body& body, Point pixels, double turned_rad, double scale) {
  const b2Vec2 at = body.GetWorldPoint(vec(pixels.x / kScale, pixels.y / kScale));
  return {.x = at.x, .y = at.y, .angle_rad = body.GetAngle() + turned_rad, .scale = scale};
}

void add_sky(Frame& f) {
  constexpr int kStars = 40;
  Rng rng(8, Purpose::init);  // always the same sky
  for (int i = 0; i < kStars; ++i) {
    const double across = rng.uniform(), up = rng.uniform(), size = rng.uniform();
    const Point at{across * f.width, (0.3 + 0.7 * up) * f.height};
    f.shapes.push_back({circle(at, 0.02 + 0.035 * size * size * size, "#aeb8d6")});
  }
}

}  // namespace

Frame LanderWorld::frame() const {
  Frame f{.width = kWidth, .height = kHeight, .seconds = 1 / kStepsPerSecond, .background = "#141a33"};
  add_sky(f);
  std::vector<Point> moon(ground_.begin(), ground_.end());
  f.shapes.push_back({line(moon, "#e3e6ee", 0.08)});
  moon.insert(moon.end(), {{kWidth, 0}, {0, 0}});
  f.shapes.push_back({polygon(std::move(moon), "#8b90a3")});
  const Point left = ground_[kChunks / 2 - 1], right = ground_[kChunks / 2 + 1];
  f.shapes.push_back({line({left, right}, "#f4c542", 0.1)});
  for (const Point& flag : {left, right}) {
    f.shapes.push_back({line({flag, {flag.x, flag.y + 1.5}}, "#e3e6ee", 0.06)});
    f.shapes.push_back(
        {polygon({{flag.x, flag.y + 1.5}, {flag.x, flag.y + 1.05}, {flag.x + 0.75, flag.y + 1.28}}, "#f4c542")});
  }

  constexpr double kQuarter = std::numbers::pi / 2;
  for (Look& look : flame(1.5)) f.shapes.push_back({std::move(look), placed(*lander_, {0, -9}, 0, engines_.main)});
  for (Look& look : flame(0.9)) {  // below 0 the lander is pushed to the left
    f.shapes.push_back({look, placed(*lander_, {15, 10}, kQuarter, std::max(0.0, -engines_.side))});
    f.shapes.push_back({std::move(look), placed(*lander_, {-15, 10}, -kQuarter, std::max(0.0, engines_.side))});
  }
  for (size_t i = 0; i < legs_.size(); ++i) {
    const double side = i == 0 ? -1 : 1;
    const Pose leg = pose_of(*legs_[i]);
    f.shapes.push_back({line(metres({{0, 5}, {side * kLegAway, kLegDown}}), "#7d86a3", 0.07), leg});
    f.shapes.push_back({polygon(metres({{-2, -8}, {2, -8}, {2, 8}, {-2, 8}}), "#b9c1d9"), leg});
  }
  const Pose hull = pose_of(*lander_);
  f.shapes.push_back({outlined(polygon(metres({kHull.begin(), kHull.end()}), "#8f7fe0"), "#d5d0f5", 0.05), hull});
  f.shapes.push_back({outlined(circle({0, 0.2}, 0.19, "#9ad7f5"), "#4b3f94", 0.05), hull});
  f.shapes.push_back({polygon(metres({{-8, -10}, {8, -10}, {5, -5}, {-5, -5}}), "#4b3f94"), hull});
  return f;
}

}  // namespace gradus::env
