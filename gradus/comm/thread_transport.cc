#include "gradus/comm/thread_transport.h"

#include <array>
#include <vector>

#include "gradus/comm/schedule.h"
#include "gradus/comm/shared_state.h"

namespace gradus::comm {

namespace {

constexpr uint64_t kCancelled = uint64_t{1} << 63;
constexpr int64_t kBlock = 16 << 10;  // bytes that stay in the first-level cache between reduction and copies

// One message on its way from one rank to another.
struct alignas(kLinePair) Channel {
  std::atomic<uint64_t> sent{0};  // how many messages so far
  uint64_t tag = 0;
  const std::byte* data = nullptr;
  size_t bytes = 0;
  // The message whose bytes are being read, so that a sender that gives up does not leave with them; or kCancelled.
  alignas(kLinePair) std::atomic<uint64_t> claimed{0};
  std::atomic<uint64_t> taken{0};
};

// Tells the sender, when it goes, that its message was taken.
struct Taken {
  Channel& channel;
  uint64_t n;
  Bell& sender;

  ~Taken() {
    channel.taken.store(n, std::memory_order_release);
    sender.ring();
  }
};

// What a rank brings to a meeting.
struct alignas(kLinePair) Place {
  std::byte* x = nullptr;
  uint64_t tag = 0;
};

}  // namespace

struct ThreadWorld::State {
  explicit State(int size)
      : ranks(static_cast<size_t>(size)),
        places(static_cast<size_t>(size)),
        channels(static_cast<size_t>(size * size)) {}

  int size() const { return static_cast<int>(ranks.size()); }
  Channel& channel(int from, int to) { return channels[static_cast<size_t>(from * size() + to)]; }

  Abort abort;
  std::vector<RankState> ranks;
  std::vector<Place> places;
  std::vector<Channel> channels;
  alignas(kLinePair) std::atomic<uint64_t> arrived{0};  // ranks at all meetings so far
  alignas(kLinePair) std::atomic<uint64_t> departed{0};
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<ThreadWorld::State> state, int rank)
      : state_(std::move(state)), rank_(rank), waiter_(me().bell, state_->abort, spins_for(state_->size())) {}

  int rank() const override { return rank_; }
  int size() const override { return state_->size(); }
  std::string_view name() const override { return "threads"; }

  void begin(const Call& call) override {
    call_ = call;
    tag_ = call.tag();
    me().publish(call);
  }

  void exchange(const Outgoing& out, const Incoming& in) override {
    uint64_t sent = 0;
    if (out.to != kNobody) sent = send(out);
    try {
      if (in.from != kNobody) receive(in);
      if (out.to != kNobody) wait_until_taken(out.to, sent);
    } catch (...) {
      if (out.to != kNobody) withdraw(out.to, sent);
      throw;
    }
  }

  std::span<const NativeAlgorithm> native_algorithms() const override {
    static constexpr std::array kAlgorithms = {NativeAlgorithm{"slices", Operation::all_reduce, true},
                                               NativeAlgorithm{"slices", Operation::reduce_scatter, true},
                                               NativeAlgorithm{"slices", Operation::all_gather, true},
                                               NativeAlgorithm{"slices", Operation::broadcast, true},
                                               NativeAlgorithm{"slices", Operation::barrier, true}};
    return kAlgorithms;
  }

  // Each rank works on its slice of everyone's vector, in place.
  // Cost: 2 alpha; each byte of the P vectors is read once and written once.
  void run_native(const NativeAlgorithm& algorithm, Job& job) override {
    meet(job.x, [&] {
      switch (algorithm.operation) {
        case Operation::all_reduce:
          return reduce_slice(job, true);
        case Operation::reduce_scatter:
          return reduce_slice(job, false);
        case Operation::all_gather:
          return copy_slices(job);
        case Operation::broadcast:
          return copy_from(job, call_.root);
        default:
          return;
      }
    });
  }

  void abort(const Error& error) noexcept override {
    state_->abort.raise(error);
    for (RankState& r : state_->ranks) r.bell.wake();
  }

  std::optional<Error> aborted() const override {
    if (state_->abort.raised()) return state_->abort.error();
    return std::nullopt;
  }

  void watch() override {}  // threads live and die together

  std::optional<Call> call_of(int peer) const override { return state_->ranks[static_cast<size_t>(peer)].current(); }

 private:
  RankState& me() { return state_->ranks[static_cast<size_t>(rank_)]; }
  RankState& peer(int r) { return state_->ranks[static_cast<size_t>(r)]; }

  uint64_t send(const Outgoing& out) {
    Channel& c = state_->channel(rank_, out.to);
    const uint64_t n = c.sent.load(std::memory_order_relaxed) + 1;
    c.tag = tag_;
    c.data = out.data;
    c.bytes = out.bytes;
    c.sent.store(n, std::memory_order_release);
    peer(out.to).bell.ring();
    ++traffic_.messages;
    traffic_.bytes_sent += static_cast<int64_t>(out.bytes);
    return n;
  }

  void receive(const Incoming& in) {
    Channel& c = state_->channel(in.from, rank_);
    const uint64_t n = c.taken.load(std::memory_order_relaxed) + 1;
    wait_for(in.from, [&] { return c.sent.load(std::memory_order_acquire) >= n; });
    uint64_t before = n - 1;
    if (!c.claimed.compare_exchange_strong(before, n)) wait_for_abort(in.from);
    const bool same = c.tag == tag_ && c.bytes == in.bytes;
    const Taken taken{c, n, peer(in.from).bell};  // also when the sink throws
    if (same) {
      if (in.bytes > 0) in.sink(c.data, 0, in.bytes);
      traffic_.bytes_received += static_cast<int64_t>(in.bytes);
    }
    if (!same) fail(ErrorCode::invalid_argument, "{}", mismatch(rank_, call_, in.from, call_of(in.from)));
  }

  void wait_until_taken(int to, uint64_t n) {
    const Channel& c = state_->channel(rank_, to);
    wait_for(to, [&] { return c.taken.load(std::memory_order_acquire) >= n; });
  }

  // Returns when ready(), which `peer`, or with kNobody any rank, brings about in this call. A rank that is found in
  // another call will not: throws invalid_argument. Else as Waiter.
  template <class Ready>
  void wait_for(int peer, Ready&& ready) {
    if (waiter_.spin(ready)) return;
    const auto is_ready = [&] {
      const int other = in_another_call(peer);
      if (ready()) return true;
      if (other != kNobody) fail(ErrorCode::invalid_argument, "{}", mismatch(rank_, call_, other, call_of(other)));
      return false;
    };
    waiter_.until(timeout(), is_ready, [&] { return late(peer != kNobody ? peer : missing()); });
  }

  // A rank that gave its part up is about to say why.
  [[noreturn]] void wait_for_abort(int peer) {
    waiter_.until(
        std::chrono::seconds(1), [] { return false; }, [&] { return late(peer); });
    fail(ErrorCode::peer_lost, "{}", late(peer));
  }

  // A rank among `peer`, or all, whose call is this one's place but not this one, or a later one; or kNobody.
  int in_another_call(int peer) const {
    for (int r = 0; r < size(); ++r) {
      if (r == rank_ || (peer != kNobody && r != peer)) continue;
      const std::optional<Call> call = call_of(r);
      if (!call || call->sequence < call_.sequence) continue;
      if (call->sequence > call_.sequence || !call->matches(call_)) return r;
    }
    return kNobody;
  }

  // Takes the message back; when it is being read, waits until it was.
  void withdraw(int to, uint64_t n) {
    Channel& c = state_->channel(rank_, to);
    uint64_t before = n - 1;
    if (c.claimed.compare_exchange_strong(before, kCancelled) || before == kCancelled) return;
    waiter_.until([&] { return c.taken.load(std::memory_order_acquire) >= n; });
  }

  // Waits until all ranks are here, calls work(), waits until all have done theirs. Nobody leaves while another one may
  // use its vector.
  template <class Work>
  void meet(std::byte* x, Work&& work) {
    Place& place = state_->places[static_cast<size_t>(rank_)];
    place = {.x = x, .tag = tag_};
    const uint64_t all = ++meetings_ * static_cast<uint64_t>(size());
    const uint64_t before = state_->arrived.fetch_add(1, std::memory_order_acq_rel);
    if ((before & kCancelled) != 0) wait_for_abort(missing());
    if (before + 1 == all) ring_all();
    // Once cancelled it never takes place, even if the last ones come.
    const auto takes_place = [&](uint64_t arrived) { return (arrived & kCancelled) == 0 && arrived >= all; };
    try {
      wait_for(kNobody, [&] { return takes_place(state_->arrived.load(std::memory_order_acquire)); });
    } catch (...) {
      uint64_t seen = state_->arrived.load(std::memory_order_acquire);
      while (!takes_place(seen)) {
        if ((seen & kCancelled) != 0 || state_->arrived.compare_exchange_weak(seen, seen | kCancelled)) throw;
      }  // else all came after all, and work with this rank's vector
    }
    int other = kNobody;
    for (int r = 0; r < size(); ++r) {
      if (state_->places[static_cast<size_t>(r)].tag != tag_) other = r;
    }
    if (other == kNobody) work();
    if (state_->departed.fetch_add(1, std::memory_order_acq_rel) + 1 == all) ring_all();
    waiter_.until([&] { return state_->departed.load(std::memory_order_acquire) >= all; });
    if (other != kNobody) fail(ErrorCode::invalid_argument, "{}", mismatch(rank_, call_, other, call_of(other)));
  }

  std::byte* vector_of(int r) const { return state_->places[static_cast<size_t>(r)].x; }

  void reduce_slice(Job& job, bool for_all) {
    const size_t offset = static_cast<size_t>(job.slice_data(rank_) - job.x), bytes = job.slice_bytes(rank_);
    const auto P = static_cast<size_t>(size());
    std::vector<const void*> xs(P);
    for (size_t done = 0; done < bytes; done += kBlock) {
      const size_t n = std::min<size_t>(kBlock, bytes - done), at = offset + done;
      for (size_t r = 0; r < P; ++r) xs[r] = vector_of(static_cast<int>(r)) + at;
      job.arithmetic.combine_all(xs, job.x + at, static_cast<int64_t>(n / job.element));
      if (!for_all) continue;
      for (int r = 0; r < size(); ++r) {
        if (r != rank_) job.arithmetic.copy(job.x + at, vector_of(r) + at, n);
      }
    }
    count_traffic(bytes, for_all ? 2 : 1);
  }

  void copy_slices(Job& job) {
    for (int k = 0; k < size(); ++k) {
      const size_t at = static_cast<size_t>(job.slice_data(k) - job.x);
      if (k != rank_) job.arithmetic.copy(vector_of(k) + at, job.x + at, job.slice_bytes(k));
    }
    count_traffic(job.slice_bytes(rank_), 1);
  }

  void copy_from(Job& job, int root) {
    if (rank_ != root) job.arithmetic.copy(vector_of(root), job.x, job.bytes());
    if (rank_ == root) traffic_.bytes_sent += static_cast<int64_t>(job.bytes()) * (size() - 1);
  }

  // A slice of this size went to, or came from, every other rank; `ways` of that.
  void count_traffic(size_t slice_bytes, int64_t ways) {
    traffic_.messages += ways * (size() - 1);
    traffic_.bytes_sent += ways * (size() - 1) * static_cast<int64_t>(slice_bytes);
    traffic_.bytes_received += ways * (size() - 1) * static_cast<int64_t>(slice_bytes);
  }

  void ring_all() {
    for (RankState& r : state_->ranks) r.bell.ring();
  }

  int missing() const {
    for (int r = 0; r < size(); ++r) {
      const std::optional<Call> call = call_of(r);
      if (!call || call->sequence < call_.sequence) return r;
    }
    return kNobody;
  }

  std::string late(int from) const {
    if (from == kNobody) return "a rank is late";
    const std::optional<Call> call = call_of(from);
    return fmt::format("rank {} did not come to {}; it is in {}", from, to_string(call_),
                       call ? to_string(*call) : "no call yet");
  }

  std::shared_ptr<ThreadWorld::State> state_;
  int rank_;
  Waiter waiter_;
  Call call_;
  uint64_t tag_ = 0, meetings_ = 0;
};

ThreadWorld::ThreadWorld(int size) {
  require(size >= 1 && size <= 1024, "threads: a group of {} ranks was asked for, but 1 to 1024 are possible", size);
  state_ = std::make_shared<State>(size);
}

std::unique_ptr<Transport> ThreadWorld::transport(int rank) const {
  require(rank >= 0 && rank < state_->size(), "threads: there is no rank {} among {}", rank, state_->size());
  return std::make_unique<ThreadTransport>(state_, rank);
}

}  // namespace gradus::comm
