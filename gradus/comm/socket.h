// TCP sockets of IPv4 and IPv6 with deadlines: what rendezvous and tcp_transport are made of. All are non-blocking and
// closed on exec. Every function that waits throws Error{timeout} at its deadline; other failures are Error{io}, a
// peer that went away Error{peer_lost}.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradus/runtime/descriptor.h"

namespace gradus::comm {

using Deadline = std::chrono::steady_clock::time_point;

using runtime::Descriptor;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;

  std::string host() const;  // "10.0.0.1", "fe80::1%eth0"
  int port() const;
  void set_port(int port);
  bool is_loopback() const;
  std::string text() const;  // "10.0.0.1:29500", "[::1]:29500"
};

// The addresses that a name or a number has. Throws not_found.
std::vector<Address> resolve(const std::string& host, int port);

// A socket that listens there; port 0 takes a free one. Throws io: the port is taken, or no interface has the address.
Descriptor listen_at(const Address& address);

// A port of 20000 to 31999, where systems take no ports for clients, that nobody listens at now.
int free_port(const std::string& host);

// What comes to the listener next.
Descriptor accept_from(const Descriptor& listener, Deadline deadline);

Descriptor connect_to(const Address& address, Deadline deadline);

Address local_address(const Descriptor& socket);
Address remote_address(const Descriptor& socket);

// Until all bytes are gone, or there.
void send_all(const Descriptor& socket, std::string_view bytes, Deadline deadline);
std::string receive_exactly(const Descriptor& socket, size_t bytes, Deadline deadline);

// A text with its length before it. Throws corrupt when one longer than `most` comes.
void send_text(const Descriptor& socket, std::string_view text, Deadline deadline);
std::string receive_text(const Descriptor& socket, size_t most, Deadline deadline);

// poll() of one descriptor. Returns false at the deadline.
bool wait_ready(int fd, short events, Deadline deadline);

}  // namespace gradus::comm
