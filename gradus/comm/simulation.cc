#include "gradus/comm/simulation.h"

#include <fmt/ranges.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

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
  const Curve message(c.alpha_s, c.beta_s_per_byte);
  return {.local = message, .remote = message, .reduce = {0, c.gamma_s_per_byte}, .copy = {0, c.copy_s_per_byte}};
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
  result.seconds = world.run([&](Transport& transport, Arithmetic& arithmetic) {
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
  });
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

// The least of several measurements of body(), each of `repeats` runs: seconds of one.
template <class Body>
double seconds_of(size_t bytes, const Body& body) {
  using Clock = std::chrono::steady_clock;
  constexpr int kMeasurements = 9;
  const int repeats = static_cast<int>(std::clamp<size_t>((size_t{8} << 20) / (bytes + 4096), 1, 1000));
  std::vector<double> seconds;
  for (int i = 0; i <= kMeasurements; ++i) {
    const auto start = Clock::now();
    for (int k = 0; k < repeats; ++k) body();
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    if (i > 0) seconds.push_back(elapsed.count() / repeats);  // the first one fills the caches
  }
  std::ranges::nth_element(seconds, seconds.begin() + kMeasurements / 2);
  return seconds[kMeasurements / 2];
}

}  // namespace

NetworkModel calibrate(Transport& transport, size_t most_bytes) {
  require(transport.size() == 2, "calibrate: the group has {} ranks, but takes 2", transport.size());
  require(most_bytes >= 16, "calibrate: up to {} bytes there is nothing to measure; give 16 or more", most_bytes);
  const int peer = 1 - transport.rank();
  std::vector<float> memory[3];
  for (auto& m : memory) m.assign(most_bytes / sizeof(float), 0.0f);
  Scratch scratch;
  ElementArithmetic arithmetic(kernels::ReduceOp::sum, DType::f32, 1);
  const std::vector<int64_t> bounds = even_bounds(static_cast<int64_t>(memory[0].size()), 2);
  std::byte* const x[3] = {reinterpret_cast<std::byte*>(memory[0].data()),
                           reinterpret_cast<std::byte*>(memory[1].data()),
                           reinterpret_cast<std::byte*>(memory[2].data())};
  Job job{transport, arithmetic, scratch, x[0], sizeof(float), bounds};

  std::vector<Curve::Point> message, copy, reduce;
  for (size_t bytes = 8; bytes <= most_bytes; bytes *= 2) {
    const auto n = static_cast<int64_t>(bytes / sizeof(float));
    Call call{.sequence = 1, .operation = Operation::all_to_all, .count = n};
    transport.begin(call);
    const Outgoing out{.to = peer, .data = x[0], .bytes = bytes};
    const double exchanged = seconds_of(bytes, [&] { exchange_copy(job, out, peer, bytes, x[1]); });
    const double copied = seconds_of(bytes, [&] { arithmetic.copy(x[0], x[2], bytes); });
    const double combined = seconds_of(bytes, [&] { arithmetic.combine(x[0], x[1], x[1], n); });
    message.push_back({bytes, std::max(0.0, exchanged - copied)});
    copy.push_back({bytes, copied});
    reduce.push_back({bytes, combined});
  }
  return {.local = Curve(message), .remote = Curve(message), .reduce = Curve(reduce), .copy = Curve(copy)};
}

}  // namespace gradus::comm
