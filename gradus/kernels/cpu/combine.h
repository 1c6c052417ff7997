// Highway kernel of gradus/kernels/combine.h; the same bits as ref/combine.h.
#pragma once

#include "gradus/kernels/ref/combine.h"

namespace gradus::kernels::cpu {

void combine(const ref::Combination& c);

}  // namespace gradus::kernels::cpu
