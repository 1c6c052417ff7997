// Loops that do nothing but load one limit of the machine: multiply-adds in registers, reading memory. On the active
// instruction set.
#pragma once

#include <cstdint>
#include <span>

namespace gradus::bench {

// `iterations` rounds of independent multiply-adds that stay in registers. Returns their FLOPs (a multiply-add is 2).
// Result: something of the numbers computed goes to `sink`, so that the compiler cannot leave them out.
double multiply_add_loop(int64_t iterations, float& sink);

// The same of products of bf16 pairs, two multiply-adds a lane.
double multiply_add_pairs_loop(int64_t iterations, float& sink);

// Reads all of `data`, in vectors. Returns a sum of it.
float read_loop(std::span<const float> data);

// Elements [begin, end) of all arrays become their sum: each is read once and written once.
void sum_loop(std::span<float* const> arrays, int64_t begin, int64_t end);

}  // namespace gradus::bench
