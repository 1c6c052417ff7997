// Highway kernels of gradus/kernels/norm.h; the same bits as ref/norm.h.
#pragma once

#include "gradus/kernels/ref/norm.h"

namespace gradus::kernels::cpu {

void rms_norm(const ref::RmsNorm<float>& a);
void rms_norm_backward(const ref::RmsNormBackward<float>& a);

}  // namespace gradus::kernels::cpu
