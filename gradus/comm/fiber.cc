#include "gradus/comm/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "gradus/core/error.h"

// The sanitizers have to be told which stack is in use.
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace gradus::comm {

namespace {

constexpr size_t kStack = 256 << 10, kGuard = 4 << 10;  // bytes

}  // namespace

struct Fiber::State {
  std::function<void()> body;
  char* memory = nullptr;
  ucontext_t inside{}, outside{};
  bool ended = false;
#if defined(__SANITIZE_ADDRESS__)
  const void* outer_stack = nullptr;
  size_t outer_size = 0;
  void *inner_fake = nullptr, *outer_fake = nullptr;
#endif
#if defined(__SANITIZE_THREAD__)
  void *inner_fiber = nullptr, *outer_fiber = nullptr;
#endif

  char* stack() const {
    return memory + kGuard;
  }

  void enter() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&outer_fake, stack(), kStack);
#endif
#if defined(__SANITIZE_THREAD__)
    outer_fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(inner_fiber, 0);
#endif
    swapcontext(&outside, &inside);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(outer_fake, nullptr, nullptr);
#endif
  }

  void arrived() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(inner_fake, &outer_stack, &outer_size);
#endif
  }

  void exit(bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &inner_fake, outer_stack, outer_size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(outer_fiber, 0);
#endif
    static_cast<void>(for_good);
    swapcontext(&inside, &outside);
    arrived();
  }

  // makecontext passes ints: the address comes in two halves.
  static void start(unsigned high, unsigned low) {
    State* const s = reinterpret_cast<State*>(static_cast<uintptr_t>(high) << 32 | low);
    s->arrived();
    s->body();
    s->ended = true;
    s->exit(true);
  }
};

Fiber::Fiber(std::function<void()> body) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.body = std::move(body);
  void* const memory = mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuard, PROT_NONE) != 0) {
    const int error = errno;
    if (memory != MAP_FAILED) munmap(memory, kGuard + kStack);
    fail(ErrorCode::exhausted, "simulated: a rank's stack of {} KiB: {}; simulate fewer ranks", kStack >> 10,
         std::strerror(error));
  }
  s.memory = static_cast<char*>(memory);
  getcontext(&s.inside);
  s.inside.uc_stack.ss_sp = s.stack();
  s.inside.uc_stack.ss_size = kStack;
  s.inside.uc_link = nullptr;
  const auto address = reinterpret_cast<uintptr_t>(&s);
  makecontext(&s.inside, reinterpret_cast<void (*)()>(State::start), 2, static_cast<unsigned>(address >> 32),
              static_cast<unsigned>(address));
#if defined(__SANITIZE_THREAD__)
  s.inner_fiber = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(state_->inner_fiber);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(state_->stack(), kStack);  // its frames' marks, before the memory serves someone else
#endif
  munmap(state_->memory, kGuard + kStack);
}

void Fiber::resume() {
  GRADUS_CHECK(!state_->ended);
  state_->enter();
}

void Fiber::leave() {
  state_->exit(false);
}

bool Fiber::ended() const {
  return state_->ended;
}

}  // namespace gradus::comm
