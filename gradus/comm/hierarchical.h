// In two levels: within each host, which is fast, and between hosts, which is not.
#pragma once

#include "gradus/comm/schedule.h"

namespace gradus::comm {

// Reduce-scatter within the host, all-reduce of each slice between its owners on all hosts, all-gather within the host.
//   host_of  [P] the host of each rank; each host has l ranks, equal for all hosts. Throws unsupported otherwise.
// The canonical order if hosts hold consecutive ranks, in equal powers of two.
// Cost, h hosts: 2 (l - 1) alpha_local + 2 (h - 1) alpha_host; 2 (l - 1)/l n beta_local + 2 (h - 1)/(h l) n beta_host.
void all_reduce_hierarchical(Job& job, std::span<const int> host_of);

// Does all_reduce_hierarchical have the canonical order for these hosts?
bool hierarchical_is_canonical(std::span<const int> host_of);
// Has each host as many ranks as every other one, at least two, and are there two hosts?
bool hierarchical_is_possible(std::span<const int> host_of);

}  // namespace gradus::comm
