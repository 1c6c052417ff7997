// How the processes of one host come to share a segment: the lowest rank makes it and hands its descriptor to the
// others over a Unix socket of an abstract name, which leaves nothing behind.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/comm/rendezvous.h"
#include "gradus/comm/shm_segment.h"

namespace gradus::comm {

struct SharedMemory {
  std::shared_ptr<const ShmSegment> segment;  // for all ranks of the job, in their numbers; null when there is none
  std::string why_not;                        // then; empty when this rank is alone on its host
};

// Collective among the ranks of this host, which all get a segment or all none. Each side checks that the other is of
// the same user and knows the token. Throws timeout, naming the rank, when one does not come, peer_lost when one is
// gone, io when the name is taken.
//   peers  [P] the table of a rendezvous
SharedMemory share_memory(const std::vector<Peer>& peers, int rank, std::string_view token,
                          std::chrono::milliseconds timeout);

}  // namespace gradus::comm
