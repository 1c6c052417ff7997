#include "gradus/comm/simulated_transport.h"

#include <algorithm>
#include <exception>
#include <queue>

#include "gradus/comm/fiber.h"
#include "gradus/comm/shared_state.h"

namespace gradus::comm {

Curve::Curve(std::span<const Point> points) {
  require(points.size() >= 2, "curve: {} points make no line; give 2 or more", points.size());
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    const Point &a = points[i], &b = points[i + 1];
    require(a.bytes < b.bytes, "curve: the points at {} and {} bytes do not ascend", a.bytes, b.bytes);
    pieces_.push_back({a.bytes, a.seconds, (b.seconds - a.seconds) / static_cast<double>(b.bytes - a.bytes)});
  }
  if (points.front().bytes > 0) pieces_.insert(pieces_.begin(), {0, points.front().seconds, 0});
}

namespace {

struct Rank {
  double clock = 0;
  // The exchange in hand, and when the parts of it that have begun are over.
  Outgoing out;
  Incoming in;
  uint64_t tag = 0;
  bool sends = false, receives = false;  // not begun
  double began = 0, left = 0, arrived = 0;
  const std::byte* data = nullptr;  // what arrived
  bool in_sink = false;
  Call call;
  std::unique_ptr<Fiber> fiber;
  std::unique_ptr<Transport> transport;
  std::unique_ptr<Arithmetic> arithmetic;
};

struct Nic {
  double out = 0, in = 0;  // busy until then
};

}  // namespace

struct SimulatedWorld::State {
  NetworkModel model;
  std::vector<Rank> ranks;
  std::vector<Nic> nics;
  uint64_t exchanges = 0;
  std::optional<Error> aborted;
  std::exception_ptr first_error;
  std::span<const std::byte> aside;

  // Ranks that can go on, the earliest first; of equal ones the lowest.
  using Ready = std::pair<double, int>;
  std::priority_queue<Ready, std::vector<Ready>, std::greater<>> ready;

  Rank& rank(int r) { return ranks[static_cast<size_t>(r)]; }
  int host(int r) const { return model.host_of.empty() ? 0 : model.host_of[static_cast<size_t>(r)]; }
  Nic& nic(int r) { return nics[static_cast<size_t>(host(r))]; }

  // Lets all ranks that are earlier go first, so that NICs are taken in the order of time.
  void wait_for_turn(int r) {
    while (!aborted && !ready.empty() && ready.top().first < rank(r).clock) {
      ready.push({rank(r).clock, r});
      rank(r).fiber->leave();
    }
    if (aborted) throw *aborted;
  }

  // Is there a message on which both agree?
  bool meet(int from, int to) {
    const Rank &sender = rank(from), &receiver = rank(to);
    return sender.sends && sender.out.to == to && receiver.receives && receiver.in.from == from;
  }

  void transfer(int from, int to) {
    Rank &sender = rank(from), &receiver = rank(to);
    if (sender.tag != receiver.tag || sender.out.bytes != receiver.in.bytes) {
      fail(ErrorCode::invalid_argument, "{}", mismatch(from, sender.call, to, receiver.call));
    }
    const bool remote = host(from) != host(to);
    const Link& link = remote ? model.remote : model.local;
    const Curve& cost = receiver.out.to == kNobody ? link.one_way : link.both_ways;
    const double seconds = cost(sender.out.bytes);
    double start = std::max(sender.clock, receiver.clock);
    if (remote) {
      start = std::max({start, nic(from).out, nic(to).in});
      nic(from).out = nic(to).in = start + seconds - cost(0);
    }
    sender.left = receiver.arrived = start + seconds;
    receiver.began = start;
    receiver.data = sender.out.data;
    sender.sends = receiver.receives = false;
  }

  bool done(int r) { return !rank(r).sends && !rank(r).receives; }

  // Begins what can begin, and returns when all of the exchange is over.
  void exchange(int r) {
    const Rank& me = rank(r);
    for (const auto& [from, to] : {std::pair{r, me.out.to}, {me.in.from, r}}) {
      const int peer = from == r ? to : from;
      if (peer == kNobody || !meet(from, to)) continue;
      transfer(from, to);
      if (done(peer)) ready.push({std::max(rank(peer).left, rank(peer).arrived), peer});
    }
    if (!done(r)) rank(r).fiber->leave();
    if (aborted) throw *aborted;
  }

  // Ranks that nobody will wake are told to end.
  void end_those_that_wait() {
    for (int r = 0; r < static_cast<int>(ranks.size()); ++r) {
      if (rank(r).fiber->ended()) continue;
      if (!aborted) {
        aborted = Error(ErrorCode::timeout,
                        fmt::format("simulated: rank {} waits for rank {}, which did not come to {}", r,
                                    rank(r).receives ? rank(r).in.from : rank(r).out.to, to_string(rank(r).call)));
        first_error = std::make_exception_ptr(*aborted);
      }
      ready.push({rank(r).clock, r});
    }
  }
};

class SimulatedTransport final : public Transport {
 public:
  SimulatedTransport(SimulatedWorld::State& world, int rank) : world_(world), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_.ranks.size()); }
  std::string_view name() const override { return "simulated"; }

  void begin(const Call& call) override {
    world_.rank(rank_).call = call;
    tag_ = call.tag();
  }

  void exchange(const Outgoing& out, const Incoming& in) override {
    world_.wait_for_turn(rank_);
    ++world_.exchanges;
    Rank& me = world_.rank(rank_);
    me.out = out;
    me.in = in;
    me.tag = tag_;
    me.sends = out.to != kNobody;
    me.receives = in.from != kNobody;
    me.left = me.arrived = me.clock;
    world_.exchange(rank_);
    if (out.to != kNobody) {
      ++traffic_.messages;
      traffic_.bytes_sent += static_cast<int64_t>(out.bytes);
    }
    if (in.from != kNobody) take(in);
    me.clock = std::max(me.clock, me.left);
  }

  void abort(const Error& error) noexcept override {
    if (!world_.aborted) world_.aborted = error;
  }
  std::optional<Error> aborted() const override { return world_.aborted; }
  void watch() override {}
  std::optional<Call> call_of(int peer) const override { return world_.rank(peer).call; }

 private:
  void take(const Incoming& in) {
    Rank& me = world_.rank(rank_);
    me.clock = me.arrived;
    me.in_sink = true;
    if (in.bytes > 0) in.sink(me.data, 0, in.bytes);  // its arithmetic turns the clock
    me.in_sink = false;
    me.clock -= std::min(me.clock - me.arrived, world_.model.overlap * (me.arrived - me.began));
    traffic_.bytes_received += static_cast<int64_t>(in.bytes);
  }

  SimulatedWorld::State& world_;
  int rank_;
  uint64_t tag_ = 0;
};

// Costs time and does nothing.
class SimulatedArithmetic final : public Arithmetic {
 public:
  SimulatedArithmetic(SimulatedWorld::State& world, int rank, size_t element)
      : world_(world), rank_(rank), element_(element) {}

  void combine(const void*, const void*, void*, int64_t count) override { reduce(1, count); }
  void combine_tree(std::span<const void* const> xs, void*, int64_t count) override {
    reduce(static_cast<double>(xs.size() - 1), count);
  }
  void combine_all(std::span<const void* const> xs, void* y, int64_t count) override { combine_tree(xs, y, count); }
  void finish(void*, int64_t) override {}
  void copy(const void*, void* y, size_t bytes) override {
    if (bytes > 0) world_.rank(rank_).clock += copying(y)(bytes);
  }

 private:
  const Curve& copying(const void* y) const {
    const Rank& me = world_.rank(rank_);
    if (me.in_sink && me.out.to == kNobody) return world_.model.copy_one_way;
    const size_t offset = reinterpret_cast<uintptr_t>(y) - reinterpret_cast<uintptr_t>(world_.aside.data());
    return offset < world_.aside.size() ? world_.model.copy_aside : world_.model.copy;
  }

  void reduce(double times, int64_t count) {
    Rank& me = world_.rank(rank_);
    const Curve& cost = me.in_sink ? world_.model.reduce : world_.model.combine;
    if (count > 0) me.clock += times * cost(static_cast<size_t>(count) * element_);
  }

  SimulatedWorld::State& world_;
  int rank_;
  size_t element_;
};

SimulatedWorld::SimulatedWorld(int size, size_t element, NetworkModel model) : state_(std::make_unique<State>()) {
  require(size >= 1 && size <= 1024, "simulated: {} ranks were asked for, but 1 to 1024 are possible", size);
  const std::vector<int>& hosts = model.host_of;
  require(hosts.empty() || (static_cast<int>(hosts.size()) == size && std::ranges::min(hosts) >= 0),
          "simulated: {} hosts are named for {} ranks; give each rank's, from 0 on", hosts.size(), size);
  require(model.overlap >= 0 && model.overlap <= 1, "simulated: an overlap of {} is not from 0 to 1", model.overlap);
  state_->nics.resize(hosts.empty() ? 1 : static_cast<size_t>(std::ranges::max(hosts)) + 1);
  state_->model = std::move(model);
  state_->ranks.resize(static_cast<size_t>(size));
  element_ = element;
}

SimulatedWorld::~SimulatedWorld() = default;

double SimulatedWorld::run(const Body& body, std::span<const std::byte> aside) {
  State& s = *state_;
  s.aside = aside;
  s.exchanges = 0;
  s.aborted.reset();
  s.first_error = nullptr;
  std::ranges::fill(s.nics, Nic{});
  for (int r = 0; r < static_cast<int>(s.ranks.size()); ++r) {
    Rank& rank = s.rank(r);
    rank = {};
    rank.transport = std::make_unique<SimulatedTransport>(s, r);
    rank.arithmetic = std::make_unique<SimulatedArithmetic>(s, r, element_);
    rank.fiber = std::make_unique<Fiber>([&s, &body, &rank] {
      try {
        body(*rank.transport, *rank.arithmetic);
      } catch (const std::exception& e) {
        if (s.first_error == nullptr) s.first_error = std::current_exception();
        if (!s.aborted) s.aborted = Error(ErrorCode::peer_lost, e.what());
      }
    });
    s.ready.push({0.0, r});
  }
  const auto go_on = [&] {
    while (!s.ready.empty()) {
      const auto [clock, r] = s.ready.top();
      s.ready.pop();
      s.rank(r).fiber->resume();
    }
  };
  go_on();
  s.end_those_that_wait();
  go_on();
  for (Rank& r : s.ranks) r.fiber.reset();
  if (s.first_error != nullptr) std::rethrow_exception(s.first_error);
  return std::ranges::max_element(s.ranks, {}, &Rank::clock)->clock;
}

const Traffic& SimulatedWorld::traffic(int rank) const {
  return state_->rank(rank).transport->traffic();
}

uint64_t SimulatedWorld::exchanges() const {
  return state_->exchanges;
}

}  // namespace gradus::comm
