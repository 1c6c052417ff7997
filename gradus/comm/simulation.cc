#include "gradus/comm/simulation.h"

#include <fmt/ranges.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <numeric>

#include "gradus/comm/doubling.h"

namespace gradus::comm {

namespace {

// Addresses and nothing behind them.
class AddressSpace {
 public:
  explicit AddressSpace(size_t bytes) : size_(std::max<size_t>(bytes, 1)) {
    memory_ = mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED) {
      fail(ErrorCode::exhausted, "simulated: {} bytes of address space: {}; simulate a smaller vector", size_,
           std::strerror(errno));
    }
  }
  AddressSpace(const AddressSpace&) = delete;
  AddressSpace& operator=(const AddressSpace&) = delete;
  ~AddressSpace() { munmap(memory_, size_); }

  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(memory_), size_}; }

 private:
  size_t size_;
  void* memory_;
};

}  // namespace

NetworkModel model_of(const Costs& c) {
  const Curve message(c.alpha_s, c.beta_s_per_byte), gamma(0, c.gamma_s_per_byte), kappa(0, c.copy_s_per_byte);
  const Link link{.both_ways = message, .one_way = message};
  return {.local = link,
          .remote = link,
          .copy = kappa,
          .copy_aside = kappa,
          .copy_one_way = kappa,
          .reduce = gamma,
          .combine = gamma};
}

SimulationResult simulate(const Algorithm& algorithm, const SimulationJob& wanted, const NetworkModel& model) {
  require(wanted.count >= 0 && wanted.element >= 1, "simulated: {} elements of {} bytes are no vector", wanted.count,
          wanted.element);
  require(algorithm.operation != Operation::all_to_all || wanted.count % std::max(1, wanted.ranks) == 0,
          "simulated: all_to_all of {} elements does not divide among {} ranks", wanted.count, wanted.ranks);
  SimulatedWorld world(wanted.ranks, wanted.element, model);
  const size_t n = static_cast<size_t>(wanted.count) * wanted.element;
  // All ranks name the same addresses: x, y, and what pairwise and the parameter server receive before they reduce.
  const AddressSpace x(n), y(n), scratch(n * static_cast<size_t>(wanted.ranks));
  const std::vector<int64_t> bounds = even_bounds(wanted.count, wanted.ranks);
  const Call call{.sequence = 1, .operation = algorithm.operation, .count = wanted.count};
  SimulationResult result;
  result.seconds = world.run(
      [&](Transport& transport, Arithmetic& arithmetic) {
        Scratch memory(scratch.bytes());
        Job job{.transport = transport,
                .arithmetic = arithmetic,
                .scratch = memory,
                .x = x.bytes().data(),
                .element = wanted.element,
                .bounds = bounds,
                .y = y.bytes().data()};
        transport.begin(call);
        algorithm.run(job, wanted.root, model.host_of);
      },
      scratch.bytes());
  for (int r = 0; r < wanted.ranks; ++r) result.traffic.push_back(world.traffic(r));
  result.exchanges = world.exchanges();
  return result;
}

const Algorithm& find_algorithm(Operation operation, std::string_view name) {
  std::vector<std::string_view> names;
  for (const Algorithm& a : algorithms()) {
    if (a.operation != operation) continue;
    if (a.name == name) return a;
    names.push_back(a.name);
  }
  fail(ErrorCode::invalid_argument, "{}: there is no algorithm {}; there are {}", comm::name(operation), name,
       fmt::join(names, ", "));
}

namespace {

using Clock = std::chrono::steady_clock;

// Durations of one kind of work.
class Stopwatch {
 public:
  template <class Work>
  void time(const Work& work) {
    const auto start = Clock::now();
    work();
    seconds_.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  // The median of five parts' means: as costly as usual, hiccups aside.
  double usual() const {
    const size_t n = seconds_.size(), parts = std::min<size_t>(n, 5);
    std::vector<double> means;
    for (size_t i = 0; i < parts; ++i) {
      const std::span<const double> part =
          std::span(seconds_).subspan(i * n / parts, (i + 1) * n / parts - i * n / parts);
      means.push_back(std::accumulate(part.begin(), part.end(), 0.0) / static_cast<double>(part.size()));
    }
    std::ranges::sort(means);
    return means[parts / 2];
  }
  std::span<double> seconds() { return seconds_; }

 private:
  std::vector<double> seconds_;
};

double clock_seconds() {
  Stopwatch watch;
  for (int i = 0; i < 1000; ++i) watch.time([] {});
  return watch.usual();
}

// Works on a vector of two slices, as two ranks would: each even rank with the next one.
class Calibration {
 public:
  Calibration(Group& group, size_t most_bytes)
      : group_(group),
        transport_(group.transport()),
        peer_(group.rank() ^ 1),
        x_(noise(2 * most_bytes / sizeof(float))),
        y_(noise(most_bytes / sizeof(float))),
        job_{transport_, arithmetic_, scratch_, nullptr, sizeof(float), bounds_} {}

  void measure(size_t bytes) {
    bytes_ = bytes;
    count_ = static_cast<int64_t>(bytes / sizeof(float));
    group_.begin_own(Operation::all_to_all, count_);
    std::byte* const y = static_cast<std::byte*>(y_.raw());
    std::byte* const x = static_cast<std::byte*>(x_.raw());
    std::byte* const slices[2] = {x, x + bytes};
    std::byte *const a = slices[is_second() ? 1 : 0], *const b = slices[is_second() ? 0 : 1];
    Stopwatch reduced, gathered, doubled, served, combined, copied;
    const size_t repeats = peer_ < transport_.size() ? repeats_of(a, y) : 0;
    for (size_t i = 0; i < repeats; ++i) {  // as the ring: what was reduced is copied back
      reduced.time([&] { exchange_combine(job_, to_peer(a), peer_, bytes, b); });
      gathered.time([&] { exchange_copy(job_, to_peer(b), peer_, bytes, a); });
    }
    for (size_t i = 0; i < repeats; ++i) {  // as doubling
      doubled.time([&] { exchange_copy(job_, to_peer(a), peer_, bytes, y); });
      combined.time([&] { arithmetic_.combine(a, y, a, count_); });
    }
    barrier_dissemination(job_);
    if (transport_.rank() <= 1) {
      for (size_t i = 0; i < repeats; ++i) {  // as a parameter server
        if (transport_.rank() == 0) {
          served.time([&] {
            exchange_copy(job_, {}, peer_, bytes, y);
            arithmetic_.combine(a, y, a, count_);
            transport_.exchange(to_peer(a), {});
          });
        } else {
          transport_.exchange(to_peer(a), {});
          exchange_copy(job_, {}, peer_, bytes, a);
        }
      }
      for (size_t i = 0; i < repeats; ++i) copied.time([&] { arithmetic_.copy(a, y, bytes); });
      for (Stopwatch* const watch : {&reduced, &gathered, &doubled}) average(*watch);
    }
    barrier_dissemination(job_);
    if (transport_.rank() != 0) return;

    // What all are made of. What a processor copies aside costs what a copy at home does, and the rest is the
    // message's.
    const auto seconds = [this](const Stopwatch& watch) { return std::max(0.0, watch.usual() - clock_s_); };
    const double aside = std::min(seconds(copied), seconds(doubled)), message = seconds(doubled) - aside;
    const double copy = std::max(0.0, seconds(gathered) - message);
    const double there = std::max(0.0, seconds(served) - seconds(combined)) / 2, copy_one_way = std::min(copy, there);
    points_.both_ways.push_back({bytes, message});
    points_.one_way.push_back({bytes, there - copy_one_way});
    points_.copy.push_back({bytes, copy});
    points_.copy_aside.push_back({bytes, aside});
    points_.copy_one_way.push_back({bytes, copy_one_way});
    points_.reduce.push_back({bytes, std::max(0.0, seconds(reduced) - message)});
    points_.combine.push_back({bytes, seconds(combined)});
  }

  NetworkModel model() const {
    const Link link{.both_ways = Curve(points_.both_ways), .one_way = Curve(points_.one_way)};
    return {.local = link,
            .remote = link,
            .copy = Curve(points_.copy),
            .copy_aside = Curve(points_.copy_aside),
            .copy_one_way = Curve(points_.copy_one_way),
            .reduce = Curve(points_.reduce),
            .combine = Curve(points_.combine)};
  }

 private:
  // How often each part is measured: what fits into a quarter of a second by the first one's clock, as far as that is 3
  // to 200 times, and so that caches see 16 MiB.
  size_t repeats_of(const std::byte* out, std::byte* in) {
    constexpr double kSeconds = 0.25;
    Stopwatch watch;
    for (int i = 0; i < 3; ++i) watch.time([&] { exchange_copy(job_, to_peer(out), peer_, bytes_, in); });
    const auto in_time = static_cast<uint64_t>(kSeconds / watch.usual());
    const uint64_t in_bytes = std::max<uint64_t>((size_t{16} << 20) / bytes_, 5);
    uint64_t repeats = std::clamp<uint64_t>(std::min(in_time, in_bytes), 3, 200);
    std::byte* const memory = reinterpret_cast<std::byte*>(&repeats);
    if (!is_second()) {
      transport_.exchange(to_peer(memory, sizeof repeats), {});
    } else {
      exchange_copy(job_, {}, peer_, sizeof repeats, memory);
    }
    return repeats;
  }

  // Rank 0's durations of exchanges become the means of both ranks'. One that comes to an exchange late by d spends d
  // less in it, and the other one d more, who is late by d for the next one then: d never dies out, and is no cost.
  void average(Stopwatch& watch) {
    const std::span<double> mine = watch.seconds();
    const size_t n = mine.size_bytes();
    if (transport_.rank() == 1) return transport_.exchange(to_peer(reinterpret_cast<std::byte*>(mine.data()), n), {});
    std::vector<double> theirs(mine.size());
    exchange_copy(job_, {}, peer_, n, reinterpret_cast<std::byte*>(theirs.data()));
    for (size_t i = 0; i < mine.size(); ++i) mine[i] = (mine[i] + theirs[i]) / 2;
  }

  // Any values but zeros, which processors move faster: on Zen 4 in 3/4 of the time.
  static Tensor noise(size_t count) {
    Tensor x = Tensor::empty({static_cast<int64_t>(count)}, DType::f32);
    std::iota(x.span<float>().begin(), x.span<float>().end(), 1.0f);
    return x;
  }

  bool is_second() const { return transport_.rank() > peer_; }
  Outgoing to_peer(const std::byte* data) const { return to_peer(data, bytes_); }
  Outgoing to_peer(const std::byte* data, size_t bytes) const { return {.to = peer_, .data = data, .bytes = bytes}; }

  Group& group_;
  Transport& transport_;
  int peer_;
  Tensor x_, y_;
  std::vector<int64_t> bounds_ = {0, 0, 0};
  Scratch scratch_;
  ElementArithmetic arithmetic_{kernels::ReduceOp::sum, DType::f32, 1};
  Job job_;
  double clock_s_ = clock_seconds();
  size_t bytes_ = 0;
  int64_t count_ = 0;
  struct {
    std::vector<Curve::Point> both_ways, one_way, copy, copy_aside, copy_one_way, reduce, combine;
  } points_;
};

}  // namespace

NetworkModel calibrate(Group& group, std::span<const size_t> sizes) {
  require(group.size() >= 2, "calibrate: one rank sends no messages; take a group of 2 or more");
  require(sizes.size() >= 2 && sizes.front() >= sizeof(float) && std::ranges::is_sorted(sizes),
          "calibrate: {} sizes from {} bytes on make no curve; give two or more that ascend from {}", sizes.size(),
          sizes.empty() ? 0 : sizes.front(), sizeof(float));
  Calibration calibration(group, sizes.back());
  for (const size_t bytes : sizes) calibration.measure(bytes);
  return group.rank() == 0 ? calibration.model() : NetworkModel{};
}

}  // namespace gradus::comm
