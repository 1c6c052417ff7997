#include "gradus/comm/subset.h"

#include <algorithm>

namespace gradus::comm {

Subset::Subset(Transport& whole, std::vector<int> members) : whole_(whole), members_(std::move(members)) {
  const auto me = std::ranges::find(members_, whole.rank());
  GRADUS_CHECK(me != members_.end() && std::ranges::is_sorted(members_));
  rank_ = static_cast<int>(me - members_.begin());
}

void Subset::exchange(const Outgoing& out, const Incoming& in) {
  Outgoing whole_out = out;
  Incoming whole_in = in;
  if (out.to != kNobody) whole_out.to = members_[static_cast<size_t>(out.to)];
  if (in.from != kNobody) whole_in.from = members_[static_cast<size_t>(in.from)];
  whole_.exchange(whole_out, whole_in);
}

}  // namespace gradus::comm
