// The versions of what computes: part of a run's record, since bits depend on them.
#pragma once

#include <map>
#include <string>

namespace gradus::kernels {

// library -> version: gradus, onednn, highway, compiler.
std::map<std::string, std::string> library_versions();

}  // namespace gradus::kernels
