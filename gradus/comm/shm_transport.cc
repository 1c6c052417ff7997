#include "gradus/comm/shm_transport.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "gradus/comm/peer_watch.h"
#include "gradus/comm/schedule.h"
#include "gradus/comm/shm_collectives.h"
#include "gradus/comm/shm_rank.h"
#include "gradus/comm/streaming_copy.h"

namespace gradus::comm {

namespace {

// A message on its way, piece by piece; one of no bytes is one piece too.
struct Progress {
  int peer = kNobody;
  size_t bytes = 0;
  size_t offset = 0;
  bool done = true;

  static Progress with(int peer, size_t bytes) { return {peer, bytes, 0, peer == kNobody}; }
  int awaited() const { return done ? kNobody : peer; }
  void advance(size_t piece) {
    offset += piece;
    done = offset == bytes;
  }
};

}  // namespace

class ShmTransport final : public Transport {
 public:
  ShmTransport(const std::shared_ptr<const ShmSegment>& segment, int rank, const ShmOptions& options)
      : segment_(*segment),
        me_(segment, rank),
        collectives_(me_, traffic_),
        watch_(segment, rank, options.longest_silence),
        sent_(static_cast<size_t>(segment->ranks())),
        received_(static_cast<size_t>(segment->ranks())) {
    me_.mine().pid.store(::getpid(), std::memory_order_release);
  }

  ~ShmTransport() override {
    me_.mine().left.store(1, std::memory_order_release);
    me_.ring_all();
  }

  int rank() const override { return me_.rank(); }
  int size() const override { return me_.size(); }
  std::string_view name() const override { return "shm"; }

  void begin(const Call& call) override { me_.begin(call, timeout()); }

  void exchange(const Outgoing& out, const Incoming& in) override {
    Progress sending = Progress::with(out.to, out.bytes), receiving = Progress::with(in.from, in.bytes);
    while (!sending.done || !receiving.done) {
      const bool sent = !sending.done && has_room(out.to);
      if (sent) send_piece(out, sending);
      const bool came = !receiving.done && has_come(in.from);
      if (came) receive_piece(in, receiving);
      if (sent || came) continue;
      me_.wait_for({sending.awaited(), receiving.awaited()},
                   [&] { return (!sending.done && has_room(out.to)) || (!receiving.done && has_come(in.from)); });
    }
    if (out.to != kNobody) {
      // Else two ranks that give each other what neither takes would part without a word.
      me_.wait_for(out.to, [&] { return is_empty(out.to); });
      ++traffic_.messages;
      traffic_.bytes_sent += static_cast<int64_t>(out.bytes);
    }
    if (in.from != kNobody) traffic_.bytes_received += static_cast<int64_t>(in.bytes);
  }

  std::span<const NativeAlgorithm> native_algorithms() const override { return collectives_.algorithms(); }
  void run_native(const NativeAlgorithm& algorithm, Job& job) override { collectives_.run(algorithm, job); }

  void abort(const Error& error) noexcept override {
    segment_.abort().raise(error);
    for (int r = 0; r < size(); ++r) segment_.state(r).bell.wake();
  }
  std::optional<Error> aborted() const override {
    if (segment_.abort().raised()) return segment_.abort().error();
    return std::nullopt;
  }

  void watch() override {
    if (const std::optional<Error> lost = watch_.look()) abort(*lost);
  }

  std::optional<Call> call_of(int peer) const override { return me_.call_of(peer); }

 private:
  uint64_t& sent_to(int peer) { return sent_[static_cast<size_t>(peer)]; }
  uint64_t& received_from(int peer) { return received_[static_cast<size_t>(peer)]; }

  uint64_t under_way(int to) {
    return sent_to(to) - segment_.channel_taken(rank(), to).load(std::memory_order_acquire);
  }
  bool has_room(int to) { return under_way(to) < kChannelSlots; }
  bool is_empty(int to) { return under_way(to) == 0; }
  bool has_come(int from) {
    const uint64_t next = received_from(from);
    return segment_.channel_slot(from, rank(), next).full.load(std::memory_order_acquire) == next + 1;
  }

  void send_piece(const Outgoing& out, Progress& message) {
    const uint64_t n = sent_to(out.to)++;
    ShmSlot& slot = segment_.channel_slot(rank(), out.to, n);
    const size_t piece = std::min(segment_.channel_bytes(), out.bytes - message.offset);
    slot.tag = me_.tag();
    slot.bytes = out.bytes;
    streaming_copy(slot.data(), out.data + message.offset, piece);
    slot.full.store(n + 1, std::memory_order_release);
    me_.ring(out.to);
    message.advance(piece);
  }

  void receive_piece(const Incoming& in, Progress& message) {
    const uint64_t n = received_from(in.from)++;
    ShmSlot& slot = segment_.channel_slot(in.from, rank(), n);
    if (slot.tag != me_.tag() || slot.bytes != in.bytes) me_.fail_mismatch(in.from);
    const size_t piece = std::min(segment_.channel_bytes(), in.bytes - message.offset);
    if (piece > 0) in.sink(slot.data(), message.offset, piece);
    segment_.channel_taken(in.from, rank()).store(n + 1, std::memory_order_release);
    me_.ring(in.from);
    message.advance(piece);
  }

  const ShmSegment& segment_;
  ShmRank me_;
  ShmCollectives collectives_;
  PeerWatch watch_;
  std::vector<uint64_t> sent_, received_;  // pieces so far, by peer
};

std::unique_ptr<Transport> shm_transport(std::shared_ptr<const ShmSegment> segment, int rank, ShmOptions options) {
  require(rank >= 0 && rank < segment->ranks(), "shm: there is no rank {} among {}", rank, segment->ranks());
  return std::make_unique<ShmTransport>(segment, rank, options);
}

}  // namespace gradus::comm
