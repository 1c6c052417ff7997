// Conversions between float and the 16-bit formats, vectorised: the bits of to_float, to_bf16 and to_f16 (NaN stays
// NaN).
#pragma once

#include <cstdint>

#include "gradus/core/dtype.h"

namespace gradus::kernels::cpu {

void widen(const BFloat16* x, int64_t n, float* y);
void widen(const Float16* x, int64_t n, float* y);
void narrow(const float* x, int64_t n, BFloat16* y);
void narrow(const float* x, int64_t n, Float16* y);

}  // namespace gradus::kernels::cpu
