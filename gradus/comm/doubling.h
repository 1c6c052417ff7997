// Partners at distance 1, 2, 4, ...: log2(P) steps. Reduced in this order, neighbours first, sums have the canonical
// order of kernels::combine when P is a power of two. Other P fold: each of the first 2 (P - P') ranks of odd number
// gives its vector to its left neighbour, P' = 2^floor(lg P), and gets the result back; that is an order of its own.
#pragma once

#include "gradus/comm/schedule.h"

namespace gradus::comm {

// Whole vectors, for short ones. Cost: lg P (alpha + n (beta + gamma)), and 2 (alpha + n beta) + n gamma when P folds.
// Source: Thakur, Rabenseifner & Gropp 2005, "Optimization of collective communication operations in MPICH",
// section 4.5.
void all_reduce_doubling(Job& job);

// Rabenseifner's: halves, quarters, ... of the vector are reduced at distance 1, 2, 4, ..., then gathered the way back.
// Cost: 2 lg P alpha + 2 (P - 1)/P n beta + (P - 1)/P n gamma. Only for P = 2^k: throws unsupported for another.
// Source: Rabenseifner 2004, "Optimization of collective reduction operations", section 4.
// Differs: the first partner is the neighbour, not the rank P/2 away, for the canonical order.
void all_reduce_rabenseifner(Job& job);

// Everyone has entered before anyone leaves. Dissemination: in step k, r tells r + 2^k. Cost: ceil(lg P) alpha.
// Source: Hensgen, Finkel & Manber 1988, "Two algorithms for barrier synchronization".
void barrier_dissemination(Job& job);

}  // namespace gradus::comm
