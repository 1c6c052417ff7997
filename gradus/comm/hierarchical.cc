#include "gradus/comm/hierarchical.h"

#include <algorithm>
#include <bit>
#include <map>

#include "gradus/comm/pairwise.h"
#include "gradus/comm/ring.h"
#include "gradus/comm/subset.h"

namespace gradus::comm {

namespace {

std::map<int, std::vector<int>> ranks_by_host(std::span<const int> host_of) {
  std::map<int, std::vector<int>> hosts;
  for (size_t r = 0; r < host_of.size(); ++r) hosts[host_of[r]].push_back(static_cast<int>(r));
  return hosts;
}

// Arithmetic whose result is not whole yet: a mean stays a sum.
class Partial final : public Arithmetic {
 public:
  explicit Partial(Arithmetic& whole) : whole_(whole) {}
  void combine(const void* a, const void* b, void* y, int64_t count) override { whole_.combine(a, b, y, count); }
  void combine_all(std::span<const void* const> xs, void* y, int64_t count) override {
    whole_.combine_tree(xs, y, count);
  }
  void combine_tree(std::span<const void* const> xs, void* y, int64_t count) override {
    whole_.combine_tree(xs, y, count);
  }
  void finish(void*, int64_t) override {}
  void copy(const void* x, void* y, size_t bytes) override { whole_.copy(x, y, bytes); }

 private:
  Arithmetic& whole_;
};

}  // namespace

bool hierarchical_is_possible(std::span<const int> host_of) {
  if (host_of.empty()) return false;
  const auto hosts = ranks_by_host(host_of);
  const size_t local = hosts.begin()->second.size();
  return hosts.size() > 1 && local > 1 &&
         std::ranges::all_of(hosts, [&](const auto& host) { return host.second.size() == local; });
}

bool hierarchical_is_canonical(std::span<const int> host_of) {
  const auto hosts = ranks_by_host(host_of);
  return hierarchical_is_possible(host_of) && std::has_single_bit(hosts.begin()->second.size()) &&
         std::ranges::all_of(hosts, [](const auto& host) {
           return static_cast<size_t>(host.second.back() - host.second.front()) + 1 == host.second.size();
         });
}

void all_reduce_hierarchical(Job& job, std::span<const int> host_of) {
  if (!hierarchical_is_possible(host_of)) {
    fail(ErrorCode::unsupported,
         "all_reduce: hierarchical needs two hosts or more with equally many ranks each, at least 2; take ring or "
         "pairwise");
  }
  const auto hosts = ranks_by_host(host_of);
  const std::vector<int>& local_ranks = hosts.at(host_of[static_cast<size_t>(job.rank())]);
  Subset local(job.transport, local_ranks);
  std::vector<int> peers;  // the ranks that own the same slice on their hosts
  for (const auto& [host, ranks] : hosts) peers.push_back(ranks[static_cast<size_t>(local.rank())]);
  std::ranges::sort(peers);
  Subset between(job.transport, peers);

  const std::vector<int64_t> bounds = even_bounds(job.count(), local.size());
  Partial partial(job.arithmetic);
  Job within{local, partial, job.scratch, job.x, job.element, bounds};
  reduce_scatter_pairwise(within);

  const int mine = local.rank();
  const std::vector<int64_t> parts = even_bounds(within.slice_count(mine), between.size());
  Job across{between, job.arithmetic, job.scratch, within.slice_data(mine), job.element, parts};
  all_reduce_pairwise(across);

  all_gather_ring(within);
}

}  // namespace gradus::comm
