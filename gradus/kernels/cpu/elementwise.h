// Highway kernels of gradus/kernels/elementwise.h; the same bits as ref/elementwise.h.
#pragma once

#include <cstdint>

namespace gradus::kernels::cpu {

void add(const float* a, const float* b, int64_t n, float* y);
void scale(float s, int64_t n, float* x);
void axpy(float alpha, const float* x, int64_t n, float* y);
void lerp(float t, const float* x, int64_t n, float* y);
void sum_rows(const float* x, int64_t rows, int64_t cols, float* sum);
double dot(const float* x, const float* w, int64_t n);
bool all_finite(const float* x, int64_t n);

}  // namespace gradus::kernels::cpu
