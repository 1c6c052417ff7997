#include "gradus/kernels/versions.h"

#include <fmt/format.h>
#include <hwy/highway.h>
#include <dnnl.hpp>

namespace gradus::kernels {

std::map<std::string, std::string> library_versions() {
  const dnnl_version_t* onednn = dnnl_version();
  return {{"gradus", GRADUS_VERSION},
          {"onednn", fmt::format("{}.{}.{}", onednn->major, onednn->minor, onednn->patch)},
          {"highway", fmt::format("{}.{}.{}", HWY_MAJOR, HWY_MINOR, HWY_PATCH)},
          {"compiler", __VERSION__}};
}

}  // namespace gradus::kernels
