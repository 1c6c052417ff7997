#include "gradus/comm/interfaces.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "gradus/core/error.h"

namespace gradus::comm {

namespace {

struct Network {
  std::string bytes;  // of the address, 4 or 16
  int n_bits = 0;
};

std::string bytes_of(const Address& a) {
  const void* p = a.storage.ss_family == AF_INET6
                      ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6&>(a.storage).sin6_addr)
                      : &reinterpret_cast<const sockaddr_in&>(a.storage).sin_addr;
  return {static_cast<const char*>(p), a.storage.ss_family == AF_INET6 ? size_t{16} : size_t{4}};
}

std::optional<Network> parse_network(std::string_view word) {
  const size_t slash = word.find('/');
  if (slash == word.npos) return std::nullopt;
  const std::string address(word.substr(0, slash));
  const std::string_view bits = word.substr(slash + 1);
  char buffer[16];
  const bool v6 = address.find(':') != address.npos;
  Network n;
  const auto [end, status] = std::from_chars(bits.data(), bits.data() + bits.size(), n.n_bits);
  require(::inet_pton(v6 ? AF_INET6 : AF_INET, address.c_str(), buffer) == 1 && status == std::errc() &&
              end == bits.data() + bits.size() && n.n_bits >= 0 && n.n_bits <= (v6 ? 128 : 32),
          "interface: {} is no network; write it like 10.1.0.0/16 or fd00::/8", word);
  n.bytes.assign(buffer, v6 ? 16 : 4);
  return n;
}

bool contains(const Network& n, const Address& a) {
  const std::string bytes = bytes_of(a);
  if (bytes.size() != n.bytes.size()) return false;
  for (int bit = 0; bit < n.n_bits; ++bit) {
    const auto at = static_cast<size_t>(bit / 8);
    if (((bytes[at] ^ n.bytes[at]) >> (7 - bit % 8) & 1) != 0) return false;
  }
  return true;
}

bool fits(std::string_view word, const Interface& i) {
  const std::optional<Network> n = parse_network(word);
  return n ? contains(*n, i.address) : word == i.name;
}

}  // namespace

std::vector<Interface> interfaces() {
  std::vector<Interface> found;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) fail(ErrorCode::io, "interface: the system does not list its interfaces");
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || (i->ifa_flags & IFF_UP) == 0) continue;
    const int family = i->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    Interface entry{.name = i->ifa_name, .address = {}};
    entry.address.size = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
    std::memcpy(&entry.address.storage, i->ifa_addr, entry.address.size);
    found.push_back(std::move(entry));
  }
  ::freeifaddrs(list);
  return found;
}

Address choose_interface(std::string_view wanted, const std::vector<Interface>& from) {
  std::vector<std::string_view> included, excluded;
  for (std::string_view rest = wanted; !rest.empty();) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view word = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    require(!word.empty() && word != "^", "interface: {} holds an empty word", wanted);
    (word.front() == '^' ? excluded : included).push_back(word.front() == '^' ? word.substr(1) : word);
  }
  for (const Interface& i : from) {
    const auto fits_this = [&](std::string_view word) { return fits(word, i); };
    if (std::ranges::any_of(excluded, fits_this)) continue;
    if (included.empty() ? !i.address.is_loopback() : std::ranges::any_of(included, fits_this)) return i.address;
  }
  std::string known;
  for (const Interface& i : from) known += fmt::format("{}{} {}", known.empty() ? "" : ", ", i.name, i.address.host());
  fail(ErrorCode::invalid_argument, "interface: none fits {}; there are {}", wanted, known);
}

}  // namespace gradus::comm
