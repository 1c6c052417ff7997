// Highway kernel of gradus/kernels/rope.h; the same bits as ref/rope.h.
#pragma once

#include "gradus/kernels/ref/rope.h"

namespace gradus::kernels::cpu {

void rope_row(const ref::RopeRow<float>& a);

}  // namespace gradus::kernels::cpu
