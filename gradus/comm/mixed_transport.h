// Ranks of several hosts: those of one host talk through shared memory, the others over TCP.
#pragma once

#include <memory>
#include <vector>

#include "gradus/comm/transport.h"

namespace gradus::comm {

// Both transports know the same ranks by the same numbers.
//   near  [P] whether to reach a rank through `local`, else through `remote`
std::unique_ptr<Transport> mixed_transport(std::unique_ptr<Transport> local, std::unique_ptr<Transport> remote,
                                           std::vector<bool> near);

}  // namespace gradus::comm
