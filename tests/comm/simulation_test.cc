// The simulator against what is known without it: the closed forms of the literature.
#include "gradus/comm/simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <numeric>

namespace gradus::comm {
namespace {

constexpr Costs kCosts{.alpha_s = 3e-6, .beta_s_per_byte = 2e-10, .gamma_s_per_byte = 5e-11};
constexpr double kAlpha = kCosts.alpha_s, kBeta = kCosts.beta_s_per_byte, kGamma = kCosts.gamma_s_per_byte;

SimulationResult run(std::string_view algorithm, int P, int64_t count, const NetworkModel& model = model_of(kCosts),
                     Operation operation = Operation::all_reduce) {
  return simulate(find_algorithm(operation, algorithm), {.ranks = P, .count = count}, model);
}

// Equal but for the order of the additions.
void expect_seconds(double got, double want, std::string_view what, int P) {
  EXPECT_NEAR(got, want, 1e-9 * want) << what << ", " << P << " ranks";
}

// A vector that P divides into equal slices, down to P's powers of two; its bytes.
int64_t count_for(int P) {
  return int64_t{P} * 1024;
}
double bytes_for(int P) {
  return 4.0 * static_cast<double>(count_for(P));
}

TEST(Simulation, TheRingCostsItsClosedForm) {
  for (const int P : {2, 3, 4, 5, 8, 13, 64, 100}) {
    const double n = bytes_for(P), rest = (P - 1.0) / P;
    expect_seconds(run("ring", P, count_for(P)).seconds,
                   2 * (P - 1) * kAlpha + 2 * rest * n * kBeta + rest * n * kGamma, "ring", P);
  }
}

TEST(Simulation, PairwiseCostsItsClosedForm) {
  for (const int P : {2, 3, 4, 5, 8, 13, 64, 100}) {
    const double n = bytes_for(P), rest = (P - 1.0) / P;
    expect_seconds(run("pairwise", P, count_for(P)).seconds,
                   2 * (P - 1) * kAlpha + 2 * rest * n * kBeta + rest * n * kGamma, "pairwise", P);
  }
}

TEST(Simulation, DoublingCostsItsClosedForm) {
  for (const int P : {2, 3, 4, 5, 8, 13, 64, 100}) {
    const double n = bytes_for(P), steps = std::floor(std::log2(P));
    const bool folds = !std::has_single_bit(static_cast<unsigned>(P));
    const double fold = folds ? 2 * (kAlpha + n * kBeta) + n * kGamma : 0;
    expect_seconds(run("doubling", P, count_for(P)).seconds, steps * (kAlpha + n * (kBeta + kGamma)) + fold, "doubling",
                   P);
  }
}

TEST(Simulation, RabenseifnerCostsItsClosedForm) {
  for (const int P : {2, 4, 8, 64, 256}) {
    const double n = bytes_for(P), rest = (P - 1.0) / P, steps = std::log2(P);
    expect_seconds(run("rabenseifner", P, count_for(P)).seconds,
                   2 * steps * kAlpha + 2 * rest * n * kBeta + rest * n * kGamma, "rabenseifner", P);
  }
}

TEST(Simulation, TheParameterServersRootCarriesAllTheLoad) {
  for (const int P : {2, 3, 8, 100}) {
    const double n = bytes_for(P);
    expect_seconds(run("parameter-server", P, count_for(P)).seconds,
                   2 * (P - 1) * (kAlpha + n * kBeta) + (P - 1) * n * kGamma, "parameter-server", P);
  }
}

TEST(Simulation, CopiesCostWhatTheModelSays) {
  Costs costs = kCosts;
  costs.copy_s_per_byte = 1e-10;
  const int P = 4;
  const double n = bytes_for(P), rest = (P - 1.0) / P;
  const double want = 2 * (P - 1) * kAlpha + rest * n * (2 * kBeta + kGamma + costs.copy_s_per_byte);
  expect_seconds(run("ring", P, count_for(P), model_of(costs)).seconds, want, "ring", P);
}

TEST(Simulation, AnOverlapHidesReductionsBehindTransfers) {
  NetworkModel model = model_of(kCosts);
  model.overlap = 1;  // gamma < beta: all of it is hidden
  const int P = 8;
  const double n = bytes_for(P), rest = (P - 1.0) / P;
  expect_seconds(run("ring", P, count_for(P), model).seconds, 2 * (P - 1) * kAlpha + 2 * rest * n * kBeta, "ring", P);
}

TEST(Simulation, EveryRanksTrafficIsTheClosedForm) {
  for (const int P : {2, 4, 8, 16}) {
    const int64_t n = 4 * count_for(P);
    for (const std::string_view algorithm : {"ring", "pairwise", "rabenseifner", "doubling"}) {
      const int lg = std::countr_zero(static_cast<unsigned>(P));
      const int64_t bytes = algorithm == "doubling" ? lg * n : 2 * n * (P - 1) / P;
      const int64_t messages = algorithm == "doubling" ? lg : algorithm == "rabenseifner" ? 2 * lg : 2 * (P - 1);
      for (const Traffic& t : run(algorithm, P, count_for(P)).traffic) {
        EXPECT_EQ(t.bytes_sent, bytes) << algorithm << " " << P;
        EXPECT_EQ(t.bytes_received, bytes) << algorithm << " " << P;
        EXPECT_EQ(t.messages, messages) << algorithm << " " << P;
      }
    }
  }
}

TEST(Simulation, EveryAlgorithmEndsForRanksAndVectorsOfAnySize) {
  for (const Algorithm& a : algorithms()) {
    for (const int P : {1, 2, 3, 5, 8, 12, 17}) {
      if (a.powers_of_two_only && !std::has_single_bit(static_cast<unsigned>(P))) continue;
      NetworkModel model = model_of(kCosts);
      if (a.between_hosts) {
        if (P % 2 != 0 || P == 2) continue;
        for (int r = 0; r < P; ++r) model.host_of.push_back(2 * r / P);
      }
      for (int64_t count : {0, 1, 16, 17, 100'003}) {
        if (a.operation == Operation::all_to_all) count -= count % P;
        const SimulationResult result = simulate(a, {.ranks = P, .count = count, .root = P - 1}, model);
        int64_t sent = 0, received = 0;
        for (const Traffic& t : result.traffic) {
          sent += t.bytes_sent;
          received += t.bytes_received;
        }
        EXPECT_EQ(sent, received) << a.name << " " << name(a.operation);
      }
    }
  }
}

TEST(Simulation, ATimeIsTheSameInEveryRun) {
  NetworkModel model = model_of(kCosts);
  for (int r = 0; r < 12; ++r) model.host_of.push_back(r % 3);  // ports and NICs are contended for
  for (const std::string_view algorithm : {"ring", "pairwise", "doubling", "hierarchical"}) {
    EXPECT_EQ(run(algorithm, 12, 12'345, model).seconds, run(algorithm, 12, 12'345, model).seconds) << algorithm;
  }
}

TEST(Simulation, ThousandRanksAndAVectorLargerThanMemoryTakeNoMemory) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "16 TiB of addresses, of which ThreadSanitizer leaves less to a program";
#endif
  const int P = 1024;
  const int64_t count = int64_t{P} << 22;  // 16 GiB
  const SimulationResult result = run("rabenseifner", P, count);
  EXPECT_EQ(result.traffic[P - 1].bytes_sent, 2 * 4 * count / P * (P - 1));
  const SimulationResult ring = run("ring", P, 1024, model_of(kCosts), Operation::all_gather);
  EXPECT_EQ(ring.exchanges, uint64_t{P} * (P - 1));
}

TEST(Simulation, HierarchicalTakesFewerSlowStepsThanTheRing) {
  const int hosts = 4, local = 2, P = hosts * local;
  NetworkModel model;
  model.local.both_ways = Curve(1e-6, 0);
  model.remote.both_ways = Curve(50e-6, 0);
  for (int r = 0; r < P; ++r) model.host_of.push_back(r / local);
  expect_seconds(run("hierarchical", P, count_for(P), model).seconds, 2 * (local - 1) * 1e-6 + 2 * (hosts - 1) * 50e-6,
                 "hierarchical", P);
  // The flat ring has to wait for a slow link in each of its steps.
  expect_seconds(run("ring", P, count_for(P), model).seconds, 2 * (P - 1) * 50e-6, "ring", P);
}

TEST(Simulation, RanksOfAHostShareItsNic) {
  const double beta = 1e-9;
  const double n = bytes_for(4);
  NetworkModel model;
  model.remote.both_ways = Curve(0, beta);
  model.host_of = {0, 1, 0, 1};  // a ring of ranks dealt out in turn crosses with every message
  expect_seconds(run("ring", 4, count_for(4), model).seconds, 6 * 2 * n / 4 * beta, "ring dealt out", 4);
  model.host_of = {0, 0, 1, 1};  // in order, once each way
  expect_seconds(run("ring", 4, count_for(4), model).seconds, 6 * n / 4 * beta, "ring in order", 4);
}

TEST(Simulation, AMessageThatNobodySendsIsAnError) {
  SimulatedWorld world(3, 4, {});
  try {
    world.run([](Transport& transport, Arithmetic&) {
      transport.begin({.sequence = 1, .operation = Operation::barrier});
      const auto drop = [](const std::byte*, size_t, size_t) {};
      if (transport.rank() > 0) transport.exchange({}, {.from = 0, .bytes = 4, .sink = drop});
    });
    FAIL() << "must throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::timeout);
    EXPECT_THAT(e.what(), testing::HasSubstr("rank 1 waits for rank 0, which did not come to barrier"));
  }
}

TEST(Simulation, DifferentCallsAreAnErrorThatNamesBoth) {
  SimulatedWorld world(2, 4, {});
  try {
    world.run([](Transport& transport, Arithmetic&) {
      const int r = transport.rank();
      transport.begin({.sequence = 1, .operation = r == 0 ? Operation::barrier : Operation::broadcast});
      const auto drop = [](const std::byte*, size_t, size_t) {};
      transport.exchange({.to = 1 - r}, {.from = 1 - r, .bytes = 0, .sink = drop});
    });
    FAIL() << "must throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    EXPECT_THAT(e.what(), testing::AllOf(testing::HasSubstr("barrier"), testing::HasSubstr("broadcast")));
  }
}

TEST(Simulation, WhatARankThrowsEndsTheOthersAndComesOut) {
  SimulatedWorld world(4, 4, {});
  EXPECT_THROW(world.run([](Transport& transport, Arithmetic&) {
    transport.begin({.sequence = 1, .operation = Operation::barrier});
    if (transport.rank() == 2) throw std::logic_error("broken");
    const auto drop = [](const std::byte*, size_t, size_t) {};
    transport.exchange({}, {.from = 2, .bytes = 0, .sink = drop});
  }),
               std::logic_error);
  EXPECT_EQ(world.run([](Transport&, Arithmetic&) {}), 0.0);  // and can run again
}

TEST(Simulation, RefusesWhatCannotBe) {
  EXPECT_THROW(SimulatedWorld(0, 4, {}), Error);
  EXPECT_THROW(SimulatedWorld(1025, 4, {}), Error);
  EXPECT_THROW(SimulatedWorld(3, 4, {.host_of = {0, 1}}), Error);
  EXPECT_THROW(run("rabenseifner", 6, 100), Error);
  EXPECT_THROW(run("hierarchical", 6, 100), Error);  // on one host
  try {
    find_algorithm(Operation::all_reduce, "rinq");
    FAIL() << "must throw";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::AllOf(testing::HasSubstr("rinq"), testing::HasSubstr("ring, pairwise, doubling")));
  }
}

TEST(Curve, IsStraightBetweenItsPointsAndBeyondThem) {
  const std::vector<Curve::Point> points = {{8, 1.0}, {16, 2.0}, {32, 6.0}};
  const Curve curve(points);
  EXPECT_EQ(curve(0), 1.0);
  EXPECT_EQ(curve(8), 1.0);
  EXPECT_EQ(curve(12), 1.5);
  EXPECT_EQ(curve(24), 4.0);
  EXPECT_EQ(curve(48), 10.0);
  EXPECT_EQ(Curve(2.0, 0.5)(4), 4.0);
}

}  // namespace
}  // namespace gradus::comm
