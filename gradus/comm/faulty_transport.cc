#include "gradus/comm/faulty_transport.h"

#include <algorithm>
#include <thread>

#include "gradus/comm/shared_state.h"
#include "gradus/core/rng.h"

namespace gradus::comm {

namespace {

constexpr size_t kGrain = 64;  // bytes of which pieces are multiples
constexpr int kSpins = 100;
constexpr double kYields = 1.0 / 16;

class FaultyTransport final : public Transport {
 public:
  FaultyTransport(std::unique_ptr<Transport> inner, const Faults& faults)
      : rank_(inner->rank()),
        size_(inner->size()),
        name_(inner->name()),
        faults_(faults),
        rng_(faults.seed, Purpose::data, static_cast<uint64_t>(inner->rank())),
        inner_(std::move(inner)) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view name() const override { return name_; }

  void begin(const Call& call) override {
    if (inner_ == nullptr) return;
    inner_->set_timeout(timeout());
    inner_->begin(call);
  }

  void exchange(const Outgoing& out, const Incoming& in) override {
    dawdle();
    if (ends_in(in)) end_before();
    if (inner_ == nullptr) throw *left_;
    const auto take = [&](const std::byte* piece, size_t offset, size_t bytes) {
      take_in_parts(in, piece, offset, bytes);
    };
    Incoming altered = in;
    altered.sink = take;
    inner_->exchange(out, altered);
    received_ += static_cast<int64_t>(in.bytes);
    traffic_ = inner_->traffic();
  }

  std::span<const NativeAlgorithm> native_algorithms() const override { return inner_->native_algorithms(); }
  void run_native(const NativeAlgorithm& algorithm, Job& job) override {
    dawdle();
    inner_->run_native(algorithm, job);
    traffic_ = inner_->traffic();
  }

  void abort(const Error& error) noexcept override {
    if (inner_ != nullptr) inner_->abort(error);
  }
  std::optional<Error> aborted() const override { return inner_ != nullptr ? inner_->aborted() : left_; }
  void watch() override {
    if (inner_ != nullptr) inner_->watch();
  }
  std::optional<Call> call_of(int peer) const override {
    return inner_ != nullptr ? inner_->call_of(peer) : std::nullopt;
  }

 private:
  // Mostly spins, since who yields to a busy machine is away for long.
  void dawdle() {
    for (int turns = static_cast<int>(rng_.uniform() * faults_.most_turns); turns > 0; --turns) {
      for (int spin = 0; spin < kSpins; ++spin) pause();
    }
    if (rng_.uniform() < kYields) std::this_thread::yield();
  }

  bool ends_in(const Incoming& in) const {
    return faults_.end != Faults::End::never && in.from != kNobody &&
           received_ + static_cast<int64_t>(in.bytes) > faults_.at_byte;
  }

  void end_before() {
    if (faults_.end == Faults::End::leave && inner_ != nullptr) {
      inner_ = nullptr;
      left_ = Error(ErrorCode::peer_lost, fmt::format("rank {} left on purpose", rank_));
    }
    if (faults_.end == Faults::End::before) stand_still();
  }

  // As a stopped process does, until the others have had enough.
  void stand_still() {
    while (!inner_->aborted()) {
      inner_->watch();
      std::this_thread::yield();
    }
  }

  void take_in_parts(const Incoming& in, const std::byte* piece, size_t offset, size_t bytes) {
    const int64_t seen = received_ + static_cast<int64_t>(offset + bytes);
    if (faults_.end == Faults::End::within && seen > faults_.at_byte) stand_still();
    for (size_t done = 0; done < bytes;) {
      const size_t left = bytes - done, grains = left / kGrain;
      size_t part = left;
      if (faults_.split && grains > 1) {
        part = kGrain * (1 + static_cast<size_t>(rng_.uniform() * static_cast<double>(grains)));
        part = std::min(part, left);
        dawdle();
      }
      in.sink(piece + done, offset + done, part);
      done += part;
    }
  }

  int rank_, size_;
  std::string name_;
  Faults faults_;
  Rng rng_;
  int64_t received_ = 0;
  std::unique_ptr<Transport> inner_;
  std::optional<Error> left_;
};

}  // namespace

std::unique_ptr<Transport> faulty_transport(std::unique_ptr<Transport> inner, const Faults& faults) {
  return std::make_unique<FaultyTransport>(std::move(inner), faults);
}

}  // namespace gradus::comm
