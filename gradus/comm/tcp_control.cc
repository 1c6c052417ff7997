#include "gradus/comm/tcp_control.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace gradus::comm {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A message: its kind, the bytes that follow (16 bits), these.
constexpr char kBeat = 'b', kAbort = 'a', kBye = '.';
constexpr size_t kHead = 3;
constexpr size_t kMostQueued = 64 << 10;  // beats for one who does not read
constexpr milliseconds kLastWords{300};

std::string message(char kind, std::string_view what) {
  std::string m = {kind, static_cast<char>(what.size()), static_cast<char>(what.size() >> 8)};
  return m += what;
}

}  // namespace

std::optional<Call> parse_call(std::string_view bytes) {
  Call call;
  if (bytes.size() != sizeof call) return std::nullopt;
  std::memcpy(static_cast<void*>(&call), bytes.data(), sizeof call);
  const bool known = static_cast<size_t>(call.operation) < kOperations && call.op <= kernels::ReduceOp::prod &&
                     call.dtype <= DType::u8 && call.file[sizeof call.file - 1] == '\0';
  return known ? std::optional(call) : std::nullopt;
}

ControlChannel::ControlChannel(std::vector<Peer> peers, std::vector<Descriptor> sockets, milliseconds lost_after)
    : peers_(std::move(peers)), lost_after_(lost_after), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_) fail(ErrorCode::exhausted, "control: the system has no event left; raise the limit of open files");
  for (Descriptor& s : sockets) {
    lines_.emplace_back();
    lines_.back().closed = !s;
    lines_.back().socket = std::move(s);
  }
}

ControlChannel::~ControlChannel() {
  for (Line& line : lines_) {
    if (line.closed) continue;
    say(line, kBye, "");
    ::shutdown(line.socket.get(), SHUT_WR);
    // What lies unread at the end would make the system reset the connection, and the peer might miss the last words.
    std::array<char, 4096> rest;
    while (::recv(line.socket.get(), rest.data(), rest.size(), 0) > 0) {
    }
  }
}

void ControlChannel::flush(Line& line) {
  while (!line.outgoing.empty() && !line.closed) {
    const ssize_t n = ::send(line.socket.get(), line.outgoing.data(), line.outgoing.size(), MSG_NOSIGNAL);
    if (n <= 0) return;  // it does not read, or is gone: listen() finds out
    line.outgoing.erase(0, static_cast<size_t>(n));
  }
}

void ControlChannel::say(Line& line, char kind, std::string_view what) {
  if (line.closed || (kind == kBeat && line.outgoing.size() > kMostQueued)) return;
  line.outgoing += message(kind, what);
  flush(line);
}

void ControlChannel::raise(const Error& error) noexcept {
  abort_.raise(error);
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
}

void ControlChannel::abort(const Error& error) noexcept {
  raise(error);
  try {
    const Error first = abort_.error();
    std::string what(1, static_cast<char>(first.code()));
    what += first.what();
    const std::lock_guard lock(mutex_);
    for (Line& line : lines_) say(line, kAbort, what);
  } catch (const std::exception&) {
    // Out of memory: the peers find out when this process ends.
  }
}

void ControlChannel::beat(const std::optional<Call>& call) {
  std::optional<Error> error;
  {
    const std::lock_guard lock(mutex_);
    std::string_view what;
    if (call) what = {reinterpret_cast<const char*>(&*call), sizeof *call};
    for (Line& line : lines_) say(line, kBeat, what);
    error = hear_all();
    const auto now = steady_clock::now();
    // After a stop of this very process the peers' words of that time are still to come.
    const bool was_away = now - last_beat_ > lost_after_ / 2;
    last_beat_ = now;
    for (size_t r = 0; r < lines_.size() && !error; ++r) {
      Line& line = lines_[r];
      if (line.closed || line.left || line.heard == steady_clock::time_point{}) continue;
      if (was_away) line.heard = now;
      if (now - line.heard <= lost_after_) continue;
      error = Error(ErrorCode::peer_lost,
                    fmt::format("{} has been silent for {:.1f} s: it was stopped, or its host or network is down",
                                peers_[r].text(), std::chrono::duration<double>(now - line.heard).count()));
    }
  }
  if (error) abort(*error);
}

void ControlChannel::listen() {
  std::optional<Error> error;
  {
    const std::lock_guard lock(mutex_);
    error = hear_all();
  }
  if (error) abort(*error);
}

std::optional<Error> ControlChannel::hear_all() {
  std::optional<Error> first;
  for (size_t r = 0; r < lines_.size(); ++r) {
    Line& line = lines_[r];
    if (line.closed) continue;
    flush(line);
    const std::optional<Error> error = hear(static_cast<int>(r), line);
    if (error && !first) first = error;
  }
  return first;
}

// What the peer's words, or its silence for ever, mean for the group.
std::optional<Error> ControlChannel::hear(int rank, Line& line) {
  std::array<char, 4096> buffer;
  while (true) {
    const ssize_t n = ::recv(line.socket.get(), buffer.data(), buffer.size(), 0);
    if (n > 0) {
      line.heard = steady_clock::now();
      line.incoming.append(buffer.data(), static_cast<size_t>(n));
      if (std::optional<Error> error = understand(line)) return error;
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return std::nullopt;
    line.closed = true;
    if (line.left) return std::nullopt;
    return Error(ErrorCode::peer_lost,
                 fmt::format("{} is gone ({}); see what it said last", peers_[static_cast<size_t>(rank)].text(),
                             n == 0 ? "its connection was closed" : "its connection was reset"));
  }
}

std::optional<Error> ControlChannel::understand(Line& line) {
  std::optional<Error> error;
  while (line.incoming.size() >= kHead) {
    const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(line.incoming[i])); };
    const size_t n = byte(1) | byte(2) << 8;
    if (line.incoming.size() < kHead + n) break;
    const std::string what = line.incoming.substr(kHead, n);
    const char kind = line.incoming[0];
    line.incoming.erase(0, kHead + n);
    if (kind == kBye) line.left = true;
    if (kind == kBeat) line.call = parse_call(what);
    if (kind == kAbort && n > 0 && !error) error = Error(static_cast<ErrorCode>(what[0]), what.substr(1));
  }
  return error;
}

Error ControlChannel::the_end_of(int peer) {
  const auto deadline = steady_clock::now() + kLastWords;
  const Line& line = lines_[static_cast<size_t>(peer)];
  while (true) {
    listen();
    if (abort_.raised()) return abort_.error();
    {
      const std::lock_guard lock(mutex_);
      if (line.closed || line.left) break;
    }
    if (!wait_ready(line.socket.get(), POLLIN, deadline)) break;
  }
  return {ErrorCode::peer_lost, fmt::format("{} left the group while others need it", this->peer(peer).text())};
}

std::optional<Call> ControlChannel::call_of(int peer) const {
  const std::lock_guard lock(mutex_);
  return lines_[static_cast<size_t>(peer)].call;
}

void ControlChannel::append_to(std::vector<pollfd>& polled) const {
  polled.push_back({wake_.get(), POLLIN, 0});
  const std::lock_guard lock(mutex_);
  for (const Line& line : lines_) {
    if (!line.closed && !line.left) polled.push_back({line.socket.get(), POLLIN, 0});
  }
}

}  // namespace gradus::comm
