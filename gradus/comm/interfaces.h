// Which of a host's network interfaces ranks talk over.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/comm/socket.h"

namespace gradus::comm {

struct Interface {
  std::string name;
  Address address;  // port 0
};

// Those that are up, one entry for each address.
std::vector<Interface> interfaces();

// The first that `wanted` fits: words with commas between, each the name of an interface ("eth0"), a network
// ("10.1.0.0/16", "fd00::/8"), or one of these after a '^', which excludes; only exclusions mean all but those and
// loopback. Throws invalid_argument when nothing fits, listing what there is, or a word means nothing.
Address choose_interface(std::string_view wanted, const std::vector<Interface>& from);

}  // namespace gradus::comm
