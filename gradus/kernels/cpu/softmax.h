// Highway kernels of gradus/kernels/softmax.h and sampling.h; the same bits as ref/softmax.h.
#pragma once

#include "gradus/kernels/ref/softmax.h"

namespace gradus::kernels::cpu {

float row_max(const float* z, int64_t n);
float log_sum_exp(const float* z, int64_t n, float inv);
void softmax(const float* x, int64_t n, float* y);
void log_prob_backward(const ref::LogProbBackwardRow<float>& a);
int32_t sample(const ref::SampleRow<float>& a);

}  // namespace gradus::kernels::cpu
