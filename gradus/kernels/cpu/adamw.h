// Highway kernel of gradus/kernels/adamw.h; the same bits as ref/adamw.h.
#pragma once

#include "gradus/kernels/ref/adamw.h"

namespace gradus::kernels::cpu {

void adamw(const ref::AdamW<float>& a);

}  // namespace gradus::kernels::cpu
