// The ranks of a bench, on this machine.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "gradus/comm/group.h"

namespace gradus::bench {

// "threads": of this process, the caller being rank 0.
const std::vector<std::string>& rank_transports();

// body(group) on each of `ranks` ranks at once. When it throws on one of them, the others are aborted; throws what the
// first rank threw. Throws invalid_argument when there is no such transport.
void run_ranks(const std::string& transport, int ranks, const std::function<void(comm::Group&)>& body);

}  // namespace gradus::bench
