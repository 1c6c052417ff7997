// Long-lived threads with a role: a metrics writer, an environment worker, a server. The operating system's thread name
// is "role/index", which is how `gradus inspect` tells them apart from outside. Compute threads live in
// gradus/core/thread_pool.h.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

namespace gradus::runtime {

// Longest "role/index" that Linux keeps.
inline constexpr std::size_t kMaxThreadName = 15;

// Names the calling thread "role/index". The main thread of a program is "main/0".
// Throws invalid_argument if the role is empty or holds '/', index < 0, or the name is longer than kMaxThreadName.
void name_this_thread(std::string_view role, int index);

// Owns one running thread. Move only; one owner calls its functions.
class Thread {
 public:
  using Body = std::function<void(std::stop_token)>;

  // Starts body(stop) at once; on return the thread bears its name. The body ends by returning, soon after
  // stop.stop_requested(). Throws invalid_argument on a bad name, exhausted if the system refuses another thread.
  Thread(std::string_view role, int index, Body body);

  // Asks the thread to stop and waits for it. An exception that join() did not fetch is dropped.
  ~Thread() = default;
  Thread(Thread&&) noexcept = default;
  Thread& operator=(Thread&& other) noexcept;

  // Interrupts waits that were given the stop token (BoundedQueue, std::condition_variable_any). Returns at once.
  void request_stop() { thread_.request_stop(); }

  // Waits for the body to end and rethrows the exception that ended it, once. Without effect when already joined.
  void join();

  bool joinable() const { return thread_.joinable(); }
  const std::string& name() const { return name_; }

 private:
  struct Shared;
  std::string name_;
  std::shared_ptr<Shared> shared_;
  std::jthread thread_;  // last: it is stopped and joined before the rest goes
};

}  // namespace gradus::runtime
