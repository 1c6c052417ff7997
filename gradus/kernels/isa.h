// Which instruction set the kernels use: one path per run, chosen at start, forced by name in tests.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace gradus::kernels {

// ref = the scalar references, the oracle of all others. avx512bf16 = AVX-512 with VDPBF16PS, which multiplies pairs of
// bf16 numbers at twice the rate of floats; the others do the same arithmetic in float.
enum class Isa { ref, sse4, avx2, avx512, avx512bf16, neon };

std::string_view name(Isa isa);                      // "avx512"
std::optional<Isa> isa_from_name(std::string_view);  // nullopt when there is none of this name

std::vector<Isa> supported_isas();  // what this machine can run, slowest first; starts with ref
Isa active_isa();                   // at start: the environment variable GRADUS_ISA, else the best supported

// Forces a path for this process; call it while no kernel runs. Throws unsupported when the machine lacks it.
// oneDNN reads its own limit once, before its first use, so it follows the first call only; the start-up probe keeps it
// honest.
void set_isa(Isa isa);

// Whether a * b + c is rounded once on the active path. SSE4 has no fused multiply-add: there it is rounded twice, and
// `ref` follows.
bool fused_multiply_add();

}  // namespace gradus::kernels
