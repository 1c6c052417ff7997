#include "gradus/nn/precision.h"

#include <vector>

#include "gradus/core/edit_distance.h"
#include "gradus/core/error.h"

namespace gradus::nn {

Precision precision_from_name(std::string_view wanted) {
  std::vector<std::string_view> names;
  for (const PrecisionFormats& f : kPrecisions) {
    if (f.name == wanted) return f.precision;
    names.push_back(f.name);
  }
  fail(ErrorCode::invalid_argument,
       "precision '{}' is not known; did you mean '{}'? There are fp64, fp32, bf16, fp16 and bf16-pure", wanted,
       nearest_name(wanted, names));
}

}  // namespace gradus::nn
