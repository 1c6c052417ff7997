// Highway kernels of gradus/kernels/activation.h; the same bits as ref/activation.h.
#pragma once

#include "gradus/kernels/ref/activation.h"

namespace gradus::kernels::cpu {

void swiglu(const ref::SwiGlu<float>& a);
void swiglu_backward(const ref::SwiGluBackward<float>& a);
void relu(const ref::Activation<float>& a);
void relu_backward(const ref::ActivationBackward<float>& a);
void tanh(const ref::Activation<float>& a);
void tanh_backward(const ref::ActivationBackward<float>& a);

}  // namespace gradus::kernels::cpu
