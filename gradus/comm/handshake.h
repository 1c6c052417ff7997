// How two processes of one job know each other on a fresh connection: each proves that it has the job's token, by the
// keyed hash of numbers that both sides drew, so that the token never travels and a recording is of no use. What
// follows on the connection is neither signed nor encrypted: a network that others can write to needs a tunnel.
#pragma once

#include <string>
#include <string_view>

#include "gradus/comm/socket.h"

namespace gradus::comm {

// `n` bytes from the system's source of secrets.
std::string random_bytes(size_t n);

// The side that connected says hello. Throws invalid_argument when the other side refuses the token or has another one
// itself, corrupt when it does not speak as Gradus does.
void introduce(const Descriptor& socket, std::string_view token, std::string_view hello, Deadline deadline);

// The side that accepted: the other one's hello, at most kMostHello bytes. Throws as introduce() does.
inline constexpr size_t kMostHello = 4096;
std::string expect_hello(const Descriptor& socket, std::string_view token, Deadline deadline);

}  // namespace gradus::comm
