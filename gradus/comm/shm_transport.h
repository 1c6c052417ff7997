// Ranks that are processes of one host, or threads of one process: what they send each other lies in a segment of
// shared memory. exchange() copies into slots that the receiver reads in place; whole collectives are in
// shm_collectives.h.
#pragma once

#include <chrono>
#include <memory>

#include "gradus/comm/shm_segment.h"
#include "gradus/comm/transport.h"

namespace gradus::comm {

struct ShmOptions {
  // A rank whose watchdog is silent for longer counts as lost.
  std::chrono::milliseconds longest_silence{3000};
};

// A segment serves one group: each rank once, each used by one thread at a time. Throws invalid_argument when there is
// no such rank.
std::unique_ptr<Transport> shm_transport(std::shared_ptr<const ShmSegment> segment, int rank, ShmOptions options = {});

}  // namespace gradus::comm
