// Highway kernels of gradus/kernels/activation.h; the same bits as ref/activation.h.
#pragma once

#include "gradus/kernels/ref/activation.h"

namespace gradus::kernels::cpu {

void swiglu(const ref::SwiGlu<float>& a);
void swiglu_backward(const ref::SwiGluBackward<float>& a);

}  // namespace gradus::kernels::cpu
