// Some ranks of a transport, seen as a transport of their own: the ranks of one host, or the k-th rank of every host.
#pragma once

#include <vector>

#include "gradus/comm/transport.h"

namespace gradus::comm {

class Subset final : public Transport {
 public:
  // members  ranks of `whole`, ascending, this one among them; `whole` outlives the object and keeps the call, the
  //          timeout and the traffic
  Subset(Transport& whole, std::vector<int> members);

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }
  std::string_view name() const override { return whole_.name(); }
  void begin(const Call& call) override { whole_.begin(call); }
  void exchange(const Outgoing& out, const Incoming& in) override;
  void abort(const Error& error) noexcept override { whole_.abort(error); }
  std::optional<Error> aborted() const override { return whole_.aborted(); }
  void watch() override { whole_.watch(); }
  std::optional<Call> call_of(int peer) const override { return whole_.call_of(members_[static_cast<size_t>(peer)]); }

 private:
  Transport& whole_;
  std::vector<int> members_;
  int rank_ = 0;
};

}  // namespace gradus::comm
