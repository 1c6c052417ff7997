#include "gradus/comm/tcp_transport.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "gradus/comm/shared_state.h"
#include "gradus/comm/tcp_control.h"

namespace gradus::comm {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Goes before each message. Ranks are the same program on machines of one kind.
struct Header {
  uint64_t tag = 0, bytes = 0;
  Call call{};
  std::array<char, 32> unused{};  // so that what follows is aligned
};
constexpr size_t kHeader = sizeof(Header);
static_assert(kHeader % kLine == 0 && std::is_trivially_copyable_v<Header>);

constexpr size_t kBuffer = 256 << 10;     // bytes received at once: they are still in the second-level cache when used
constexpr size_t kSendPiece = 256 << 10;  // bytes sent before the next look at what came
constexpr int kLooksPerSpin = 8;          // a look is a system call; spins_for() counts cheaper ones
constexpr milliseconds kLongestPoll{1'000};

// What came from a peer and was not used yet.
class Inbox {
 public:
  size_t size() const { return end_ - begin_; }
  const std::byte* data() const { return memory() + begin_; }
  void drop(size_t n) { begin_ += n; }

  // One recv(). As it returns.
  ssize_t fill(int socket) {
    if (lines_.empty()) lines_.resize(kBuffer / kLine);
    if (begin_ > 0) {
      std::memmove(memory(), memory() + begin_, size());
      end_ -= begin_;
      begin_ = 0;
    }
    const ssize_t n = ::recv(socket, memory() + end_, kBuffer - end_, 0);
    if (n > 0) end_ += static_cast<size_t>(n);
    return n;
  }

 private:
  struct alignas(kLine) Line {
    std::array<std::byte, kLine> bytes;
  };
  std::byte* memory() { return reinterpret_cast<std::byte*>(lines_.data()); }
  const std::byte* memory() const { return reinterpret_cast<const std::byte*>(lines_.data()); }

  std::vector<Line> lines_;
  size_t begin_ = 0, end_ = 0;
};

struct Link {
  Descriptor socket;
  Inbox inbox;
  std::optional<Call> call;  // of the last header
};

class TcpTransport final : public Transport {
 public:
  TcpTransport(std::vector<Peer> peers, std::vector<Connection> connections, int rank, milliseconds lost_after)
      : rank_(rank),
        size_(static_cast<int>(peers.size())),
        n_spins_(spins_for(size_) / kLooksPerSpin),
        control_(std::move(peers), take_control(connections), lost_after) {
    for (Connection& c : connections) links_.push_back({.socket = std::move(c.data), .inbox = {}, .call = {}});
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view name() const override { return "tcp"; }

  void begin(const Call& call) override {
    header_.tag = call.tag();
    header_.call = call;
    mine_.publish(call);
  }

  void exchange(const Outgoing& out, const Incoming& in) override {
    out_ = out;
    in_ = in;
    header_.bytes = out.bytes;
    n_sent_ = 0;
    n_taken_ = 0;
    header_taken_ = false;
    bool sending = out.to != kNobody, receiving = in.from != kNobody;
    int looks = 0;
    Deadline deadline{};  // of the wait at hand; none before the first
    while (true) {
      if (control_.aborted().raised()) throw control_.aborted().error();
      const size_t before = progress();
      if (sending) sending = !push();
      if (receiving) receiving = !pull();
      if (!sending && !receiving) break;
      if (progress() != before) {
        looks = 0;
        deadline = {};
      } else if (++looks <= n_spins_) {
        pause();
      } else {
        if (deadline == Deadline{}) deadline = steady_clock::now() + timeout();
        wait(sending, receiving, deadline);
      }
    }
    if (out.to != kNobody) count_sent();
    if (in.from != kNobody) traffic_.bytes_received += static_cast<int64_t>(in.bytes);
  }

  void abort(const Error& error) noexcept override { control_.abort(error); }

  std::optional<Error> aborted() const override {
    if (control_.aborted().raised()) return control_.aborted().error();
    return std::nullopt;
  }

  void watch() override { control_.beat(mine_.current()); }

  std::optional<Call> call_of(int peer) const override {
    std::optional<Call> told = control_.call_of(peer);
    const std::optional<Call>& seen = links_[static_cast<size_t>(peer)].call;
    return seen && (!told || told->sequence < seen->sequence) ? seen : told;
  }

 private:
  static std::vector<Descriptor> take_control(std::vector<Connection>& connections) {
    std::vector<Descriptor> control;
    for (Connection& c : connections) control.push_back(std::move(c.control));
    return control;
  }

  Link& link(int peer) { return links_[static_cast<size_t>(peer)]; }
  size_t progress() const { return n_sent_ + n_taken_ + (header_taken_ ? 1 : 0); }

  void count_sent() {
    ++traffic_.messages;
    traffic_.bytes_sent += static_cast<int64_t>(out_.bytes);
    traffic_.header_bytes_sent += kHeader;
  }

  // Sends what the system takes now. True when all is sent.
  bool push() {
    std::array<iovec, 2> parts;
    msghdr message{};
    message.msg_iov = parts.data();
    const size_t n_payload = n_sent_ > kHeader ? n_sent_ - kHeader : 0;
    if (n_sent_ < kHeader) {
      parts[message.msg_iovlen++] = {reinterpret_cast<char*>(&header_) + n_sent_, kHeader - n_sent_};
    }
    if (n_payload < out_.bytes) {
      parts[message.msg_iovlen++] = {const_cast<std::byte*>(out_.data) + n_payload,
                                     std::min(kSendPiece, out_.bytes - n_payload)};
    }
    const ssize_t n = ::sendmsg(link(out_.to).socket.get(), &message, MSG_NOSIGNAL);
    if (n > 0) n_sent_ += static_cast<size_t>(n);
    if (n < 0 && errno != EAGAIN && errno != EINTR) throw control_.the_end_of(out_.to);
    return n_sent_ == kHeader + out_.bytes;
  }

  // Takes what has come. True when the message is whole.
  bool pull() {
    Link& from = link(in_.from);
    if (from.inbox.size() < wanted()) {
      const ssize_t n = from.inbox.fill(from.socket.get());
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) throw control_.the_end_of(in_.from);
    }
    if (!header_taken_) {
      if (from.inbox.size() < kHeader) return false;
      take_header(from);
    }
    const size_t left = in_.bytes - n_taken_;
    const size_t n = from.inbox.size() >= left ? left : from.inbox.size() / kLine * kLine;
    if (n > 0) in_.sink(from.inbox.data(), n_taken_, n);
    from.inbox.drop(n);
    n_taken_ += n;
    return n_taken_ == in_.bytes;
  }

  // Bytes without which pull() gets no further.
  size_t wanted() const {
    if (!header_taken_) return kHeader;
    return std::min(in_.bytes - n_taken_, kLine);
  }

  void take_header(Link& from) {
    Header h;
    std::memcpy(static_cast<void*>(&h), from.inbox.data(), kHeader);
    from.inbox.drop(kHeader);
    from.call = parse_call({reinterpret_cast<const char*>(&h.call), sizeof h.call});
    header_taken_ = true;
    if (h.tag != header_.tag || h.bytes != in_.bytes) {
      fail(ErrorCode::invalid_argument, "{}", mismatch(rank_, header_.call, in_.from, from.call));
    }
  }

  // Sleeps until a connection is ready, a peer says something, the group is aborted, or the deadline.
  void wait(bool sending, bool receiving, Deadline deadline) {
    polled_.clear();
    control_.append_to(polled_);
    const size_t n_control = polled_.size();
    if (sending) polled_.push_back({link(out_.to).socket.get(), POLLOUT, 0});
    if (receiving) polled_.push_back({link(in_.from).socket.get(), POLLIN, 0});
    const auto now = steady_clock::now();
    if (now >= deadline) fail(ErrorCode::timeout, "{}", late(receiving ? in_.from : out_.to));
    const auto left = std::min(std::chrono::ceil<milliseconds>(deadline - now), kLongestPoll);
    ::poll(polled_.data(), polled_.size(), static_cast<int>(left.count()));
    const auto spoke = [](const pollfd& p) { return p.revents != 0; };
    if (std::any_of(polled_.begin() + 1, polled_.begin() + static_cast<ptrdiff_t>(n_control), spoke)) {
      control_.listen();
    }
  }

  std::string late(int peer) {
    control_.listen();
    const std::optional<Call> call = call_of(peer);
    return fmt::format("{} did not come to {} within {:.1f} s; it is in {}", control_.peer(peer).text(),
                       to_string(header_.call), static_cast<double>(timeout().count()) / 1000,
                       call ? to_string(*call) : "no call that is known");
  }

  int rank_, size_, n_spins_;
  std::vector<Link> links_;
  std::vector<pollfd> polled_;
  RankState mine_;
  // Of the exchange at hand.
  Header header_;
  Outgoing out_;
  Incoming in_;
  size_t n_sent_ = 0, n_taken_ = 0;
  bool header_taken_ = false;
  ControlChannel control_;  // last: it says goodbye before the data connections close
};

}  // namespace

std::unique_ptr<Transport> tcp_transport(const Meeting& meeting, int rank, const TcpOptions& options) {
  std::vector<Connection> connections = connect_mesh(
      meeting, rank, {.token = options.token, .timeout = options.connect_timeout, .wanted = options.wanted});
  return tcp_transport(meeting.peers, std::move(connections), rank, options.lost_after);
}

std::unique_ptr<Transport> tcp_transport(std::vector<Peer> peers, std::vector<Connection> connections, int rank,
                                         milliseconds lost_after) {
  return std::make_unique<TcpTransport>(std::move(peers), std::move(connections), rank, lost_after);
}

}  // namespace gradus::comm
