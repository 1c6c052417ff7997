// A function that can be left in the middle and entered again later: the simulator's ranks, a thousand in one thread.
#pragma once

#include <functional>
#include <memory>

namespace gradus::comm {

class Fiber {
 public:
  // body  starts with the first resume(), and must not throw; its stack has 256 KiB of address space and a guard page
  // Throws exhausted when there is no memory for the stack.
  explicit Fiber(std::function<void()> body);
  ~Fiber();  // not while the body is left in the middle

  // Runs the body until it calls leave() or ends.
  void resume();
  // From the body: back to who called resume().
  void leave();
  bool ended() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gradus::comm
