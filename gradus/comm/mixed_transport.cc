#include "gradus/comm/mixed_transport.h"

#include <condition_variable>
#include <mutex>

#include "gradus/runtime/thread.h"

namespace gradus::comm {

namespace {

// A thread that does one thing at a time for another one.
class Assistant {
 public:
  Assistant() : thread_("comm-tcp", 0, [this](std::stop_token stop) { run(stop); }) {}

  // work() begins; it does not throw, and lives until finish().
  void start(const std::function<void()>& work) {
    const std::lock_guard lock(mutex_);
    work_ = &work;
    changed_.notify_all();
  }
  void finish() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return work_ == nullptr; });
  }

 private:
  void run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [&] { return work_ != nullptr; })) {
      const std::function<void()>& work = *work_;
      lock.unlock();
      work();
      lock.lock();
      work_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  const std::function<void()>* work_ = nullptr;
  runtime::Thread thread_;  // last: it uses the rest
};

class MixedTransport final : public Transport {
 public:
  MixedTransport(std::unique_ptr<Transport> local, std::unique_ptr<Transport> remote, std::vector<bool> near)
      : local_(std::move(local)), remote_(std::move(remote)), near_(std::move(near)) {}

  int rank() const override { return remote_->rank(); }
  int size() const override { return remote_->size(); }
  std::string_view name() const override { return "mixed"; }

  void begin(const Call& call) override {
    local_->set_timeout(timeout());
    remote_->set_timeout(timeout());
    local_->begin(call);
    remote_->begin(call);
  }

  void exchange(const Outgoing& out, const Incoming& in) override {
    const bool sends_near = out.to != kNobody && is_near(out.to),
               receives_near = in.from != kNobody && is_near(in.from);
    const bool sends_far = out.to != kNobody && !sends_near, receives_far = in.from != kNobody && !receives_near;
    if (!sends_far && !receives_far) {
      local_->exchange(out, in);
    } else if (!sends_near && !receives_near) {
      remote_->exchange(out, in);
    } else if (sends_near) {
      exchange_both(out, Incoming{}, Outgoing{}, in);
    } else {
      exchange_both(Outgoing{}, in, out, Incoming{});
    }
    add_up();
  }

  void abort(const Error& error) noexcept override {
    local_->abort(error);
    remote_->abort(error);
  }

  std::optional<Error> aborted() const override {
    std::optional<Error> error = local_->aborted();
    return error ? error : remote_->aborted();
  }

  // An abort that came one way goes on the other.
  void watch() override {
    local_->watch();
    remote_->watch();
    const std::optional<Error> local = local_->aborted(), remote = remote_->aborted();
    if (local && !remote) remote_->abort(*local);
    if (remote && !local) local_->abort(*remote);
  }

  std::optional<Call> call_of(int peer) const override {
    return is_near(peer) ? local_->call_of(peer) : remote_->call_of(peer);
  }

 private:
  bool is_near(int peer) const { return near_[static_cast<size_t>(peer)]; }

  // Neither part waits for the other. When one fails, it ends the other one, too.
  void exchange_both(const Outgoing& near_out, const Incoming& near_in, const Outgoing& far_out,
                     const Incoming& far_in) {
    std::optional<Error> far_error, near_error;
    const std::function<void()> far = [&] { far_error = attempt(*remote_, far_out, far_in, *local_); };
    assistant_.start(far);
    near_error = attempt(*local_, near_out, near_in, *remote_);
    assistant_.finish();
    if (near_error) throw *near_error;
    if (far_error) throw *far_error;
  }

  static std::optional<Error> attempt(Transport& transport, const Outgoing& out, const Incoming& in,
                                      Transport& other) noexcept {
    std::optional<Error> error;
    try {
      transport.exchange(out, in);
    } catch (const Error& e) {
      error = e;
    } catch (const std::exception& e) {
      error = Error(ErrorCode::exhausted, e.what());
    }
    if (error) other.abort(*error);
    return error;
  }

  void add_up() {
    const Traffic &a = local_->traffic(), &b = remote_->traffic();
    traffic_ = {.messages = a.messages + b.messages,
                .bytes_sent = a.bytes_sent + b.bytes_sent,
                .bytes_received = a.bytes_received + b.bytes_received,
                .header_bytes_sent = a.header_bytes_sent + b.header_bytes_sent};
  }

  std::unique_ptr<Transport> local_, remote_;
  std::vector<bool> near_;
  Assistant assistant_;
};

}  // namespace

std::unique_ptr<Transport> mixed_transport(std::unique_ptr<Transport> local, std::unique_ptr<Transport> remote,
                                           std::vector<bool> near) {
  GRADUS_CHECK(local->size() == remote->size() && static_cast<int>(near.size()) == remote->size());
  return std::make_unique<MixedTransport>(std::move(local), std::move(remote), std::move(near));
}

}  // namespace gradus::comm
