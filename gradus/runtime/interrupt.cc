#include "gradus/runtime/interrupt.h"

#include <signal.h>

#include <atomic>

#include "gradus/core/error.h"

namespace gradus::runtime {

namespace {

std::atomic<int> n_requests{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch lock-free atomics only");

void set_action(int signal_number, void (*action)(int)) {
  struct sigaction s = {};
  s.sa_handler = action;
  s.sa_flags = SA_RESTART;  // reads and writes elsewhere go on as if nothing had happened
  sigemptyset(&s.sa_mask);
  sigaction(signal_number, &s, nullptr);
}

void count_signal(int) {
  if (n_requests.fetch_add(1) == 0) return;
  for (const int signal_number : {SIGINT, SIGTERM}) set_action(signal_number, SIG_DFL);
}

}  // namespace

void install_interrupt_handlers() {
  set_action(SIGINT, count_signal);
  set_action(SIGTERM, count_signal);
  struct sigaction hang_up = {};
  sigaction(SIGHUP, nullptr, &hang_up);
  if (hang_up.sa_handler != SIG_IGN) set_action(SIGHUP, count_signal);  // nohup asks to go on
}

bool interrupt_requested() {
  return n_requests.load() > 0;
}

void request_interrupt() {
  int none = 0;
  n_requests.compare_exchange_strong(none, 1);
}

void clear_interrupt() {
  n_requests.store(0);
}

void throw_if_interrupted(const char* what) {
  if (interrupt_requested()) fail(ErrorCode::interrupted, "{}: interrupted", what);
}

void ignore_write_signals() {
  set_action(SIGPIPE, SIG_IGN);
  set_action(SIGXFSZ, SIG_IGN);
}

}  // namespace gradus::runtime
