#include "gradus/runtime/thread.h"

#include <pthread.h>

#include <exception>
#include <latch>
#include <system_error>
#include <utility>

#include "gradus/core/error.h"

namespace gradus::runtime {

namespace {

std::string thread_name(std::string_view role, int index) {
  require(!role.empty() && role.find('/') == role.npos, "thread: the role is '{}'; it must be one word without '/'",
          role);
  require(index >= 0, "thread {}: the index is {}; it must be 0 or more", role, index);
  std::string name = fmt::format("{}/{}", role, index);
  require(name.size() <= kMaxThreadName,
          "thread {}: the name has {} characters but the system keeps {}; take a shorter role", name, name.size(),
          kMaxThreadName);
  return name;
}

}  // namespace

void name_this_thread(std::string_view role, int index) {
  pthread_setname_np(pthread_self(), thread_name(role, index).c_str());
}

struct Thread::Shared {
  std::latch named{1};
  std::exception_ptr error;  // written by the thread before it ends, read after the join
};

Thread::Thread(std::string_view role, int index, Body body)
    : name_(thread_name(role, index)), shared_(std::make_shared<Shared>()) {
  try {
    thread_ = std::jthread([name = name_, shared = shared_, body = std::move(body)](std::stop_token stop) {
      pthread_setname_np(pthread_self(), name.c_str());
      shared->named.count_down();
      try {
        body(std::move(stop));
      } catch (...) {
        shared->error = std::current_exception();
      }
    });
  } catch (const std::system_error& e) {
    fail(ErrorCode::exhausted, "thread {}: {}; lower the number of threads or raise the limit (ulimit -u)", name_,
         e.what());
  }
  shared_->named.wait();
}

Thread& Thread::operator=(Thread&& other) noexcept {
  thread_ = std::move(other.thread_);  // first: stops and joins the old thread
  name_ = std::move(other.name_);
  shared_ = std::move(other.shared_);
  return *this;
}

void Thread::join() {
  if (!thread_.joinable()) return;
  thread_.join();
  if (shared_->error) std::rethrow_exception(std::exchange(shared_->error, nullptr));
}

}  // namespace gradus::runtime
