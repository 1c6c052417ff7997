// A transport that misbehaves on purpose, by a seed: for tests of everything that uses one. It keeps its rank late by
// rounds of spinning and a yield now and then, never by time, cuts incoming pieces smaller, and ends its rank's part at
// a given byte.
#pragma once

#include <cstdint>
#include <memory>

#include "gradus/comm/transport.h"

namespace gradus::comm {

struct Faults {
  enum class End {
    never,
    leave,   // the transport is destroyed before the message that brings the byte
    before,  // the rank stops before that message, until the group is aborted
    within,  // the rank stops while it takes that byte; not for threads, whose messages are taken at once
  };
  uint64_t seed = 0;
  int most_turns = 20;  // rounds before a message, and before each piece
  bool split = true;
  End end = End::never;
  int64_t at_byte = 0;  // of all that this rank receives
};

std::unique_ptr<Transport> faulty_transport(std::unique_ptr<Transport> inner, const Faults& faults);

}  // namespace gradus::comm
