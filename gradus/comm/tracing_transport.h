// A transport that tells what goes through another one: which rank sends what to whom, exchange by exchange.
#pragma once

#include <functional>

#include "gradus/comm/transport.h"

namespace gradus::comm {

class TracingTransport final : public Transport {
 public:
  struct Exchange {
    int rank;
    int64_t step;  // exchanges of this rank in this call, from 0
    Outgoing out;
    Incoming in;
  };
  // Called after each exchange that succeeded, on the rank's own thread.
  using Report = std::function<void(const Exchange&)>;

  // `whole` outlives the object.
  TracingTransport(Transport& whole, Report report) : whole_(whole), report_(std::move(report)) {}

  int rank() const override { return whole_.rank(); }
  int size() const override { return whole_.size(); }
  std::string_view name() const override { return whole_.name(); }
  void begin(const Call& call) override {
    whole_.set_timeout(timeout());
    whole_.begin(call);
    step_ = 0;
  }
  void exchange(const Outgoing& out, const Incoming& in) override {
    whole_.exchange(out, in);
    traffic_ = whole_.traffic();
    report_({.rank = rank(), .step = step_++, .out = out, .in = in});
  }
  std::span<const NativeAlgorithm> native_algorithms() const override { return whole_.native_algorithms(); }
  void run_native(const NativeAlgorithm& algorithm, Job& job) override {
    whole_.run_native(algorithm, job);  // without exchanges
    traffic_ = whole_.traffic();
  }
  void abort(const Error& error) noexcept override { whole_.abort(error); }
  std::optional<Error> aborted() const override { return whole_.aborted(); }
  void watch() override { whole_.watch(); }
  std::optional<Call> call_of(int peer) const override { return whole_.call_of(peer); }

 private:
  Transport& whole_;
  Report report_;
  int64_t step_ = 0;
};

}  // namespace gradus::comm
