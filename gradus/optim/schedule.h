// Learning-rate schedules: pure functions of the step.
#pragma once

#include <cstdint>

namespace gradus::optim {

// Linear from 0 (exclusive) to 1 over `warmup` steps, then half a cosine from 1 to `floor` at `total`. step counts from
// 0.
double warmup_cosine(int64_t step, int64_t warmup, int64_t total, double floor = 0.0);

// Linear from 0 (exclusive) to 1 over `warmup` steps, then 1.
double warmup_constant(int64_t step, int64_t warmup);

}  // namespace gradus::optim
