// Ranks that are threads of one process. A message is a pointer: the receiver reads where the sender's bytes lie.
#pragma once

#include <memory>

#include "gradus/comm/transport.h"

namespace gradus::comm {

// The memory that the ranks share. The transports keep it alive.
class ThreadWorld {
 public:
  explicit ThreadWorld(int size);  // throws invalid_argument unless 1 <= size <= 1024
  // Each rank once, each used by one thread at a time.
  std::unique_ptr<Transport> transport(int rank) const;

 private:
  struct State;
  friend class ThreadTransport;
  std::shared_ptr<State> state_;
};

}  // namespace gradus::comm
