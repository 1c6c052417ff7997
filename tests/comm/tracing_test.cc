// What the tracing transport tells, over threads and on the virtual clock.
#include "gradus/comm/tracing_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>

#include "gradus/comm/ring.h"
#include "gradus/comm/simulated_transport.h"
#include "tests/comm/ranks.h"

namespace gradus::comm {
namespace {

using testing::Each;

// (rank, step, to, slice sent, reduced by the receiver)
using Seen = std::tuple<int, int64_t, int, int64_t, bool>;

// The ring as the textbook draws it: slice r - s - 1 in step s of the reduction, then r - s of the copies.
std::vector<Seen> textbook_ring(int P) {
  std::vector<Seen> seen;
  for (int r = 0; r < P; ++r) {
    for (int s = 0; s < P - 1; ++s) seen.emplace_back(r, s, (r + 1) % P, (r - s - 1 + 2 * P) % P, true);
    for (int s = 0; s < P - 1; ++s) seen.emplace_back(r, P - 1 + s, (r + 1) % P, (r - s + P) % P, false);
  }
  return seen;
}

TEST(TracingTransport, ShowsTheRingOfThreadsAsTheTextbookDrawsIt) {
  const int P = 4;
  std::mutex mutex;
  std::vector<Seen> seen;
  std::vector<std::vector<float>> xs(P, std::vector<float>(4 * P, 1.0f));
  const ThreadWorld world(P);
  std::vector<std::unique_ptr<Transport>> inner;
  for (int r = 0; r < P; ++r) inner.push_back(world.transport(r));
  const auto report = [&](const TracingTransport::Exchange& e) {
    const std::lock_guard lock(mutex);
    const auto offset = reinterpret_cast<const float*>(e.out.data) - xs[static_cast<size_t>(e.rank)].data();
    seen.emplace_back(e.rank, e.step, e.out.to, offset / 4, e.in.reduced);
  };
  const auto make = [&](int r) { return std::make_unique<TracingTransport>(*inner[static_cast<size_t>(r)], report); };
  GroupOptions options;
  options.forced[Operation::all_reduce] = "ring";
  EXPECT_THAT(run_ranks(P, make, options,
                        [&](Group& group) {
                          group.all_reduce(std::span(xs[static_cast<size_t>(group.rank())]));
                          EXPECT_EQ(group.traffic().messages, 2 * (P - 1));
                        }),
              Each(""));
  std::ranges::sort(seen);
  EXPECT_EQ(seen, textbook_ring(P));
}

TEST(TracingTransport, ShowsTheSameOnTheVirtualClock) {
  const int P = 5;
  std::vector<Seen> seen;
  std::vector<std::byte> x(4 * 4 * P);
  const std::vector<int64_t> bounds = even_bounds(4 * P, P);
  SimulatedWorld(P, 4, {}).run([&](Transport& transport, Arithmetic& arithmetic) {
    TracingTransport tracing(transport, [&](const TracingTransport::Exchange& e) {
      seen.emplace_back(e.rank, e.step, e.out.to, (e.out.data - x.data()) / 16, e.in.reduced);
    });
    Scratch scratch;
    Job job{tracing, arithmetic, scratch, x.data(), 4, bounds};
    tracing.begin({.sequence = 1, .operation = Operation::all_reduce});
    all_reduce_ring(job);
  });
  std::ranges::sort(seen);
  EXPECT_EQ(seen, textbook_ring(P));
}

TEST(TracingTransport, CountsStepsAnewInEachCall) {
  std::vector<int64_t> steps;
  const ThreadWorld world(2);
  const auto first = world.transport(0), second = world.transport(1);
  const auto make = [&](int r) {
    return std::make_unique<TracingTransport>(r == 0 ? *first : *second, [&](const TracingTransport::Exchange& e) {
      if (e.rank == 0) steps.push_back(e.step);
    });
  };
  GroupOptions options;
  options.forced[Operation::all_reduce] = "ring";
  EXPECT_THAT(run_ranks(2, make, options,
                        [&](Group& group) {
                          std::vector<float> x(10);
                          for (int call = 0; call < 2; ++call) group.all_reduce(std::span(x));
                        }),
              Each(""));
  EXPECT_THAT(steps, testing::ElementsAre(0, 1, 0, 1));
}

}  // namespace
}  // namespace gradus::comm
