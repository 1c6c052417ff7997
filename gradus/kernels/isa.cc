#include "gradus/kernels/isa.h"

#include <hwy/targets.h>
#include <dnnl.hpp>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "gradus/core/error.h"

namespace gradus::kernels {

namespace {

int64_t highway_target(Isa isa) {
  switch (isa) {
    case Isa::sse4:
      return HWY_SSE4;
    case Isa::avx2:
      return HWY_AVX2;
    case Isa::avx512:
      return HWY_AVX3;
    case Isa::avx512bf16:
      return HWY_AVX3_DL;  // every machine with VDPBF16PS but Cooper Lake has that target's other instructions too
    case Isa::neon:
      return HWY_NEON;
    case Isa::ref:
      return 0;
  }
  return 0;
}

bool has_avx512_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

constexpr Isa kVectorIsas[] = {Isa::sse4, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::neon};

void limit_onednn(Isa isa) {
#if defined(__x86_64__)
  const auto limit = isa >= Isa::avx512 ? dnnl::cpu_isa::all
                     : isa == Isa::avx2 ? dnnl::cpu_isa::avx2
                                        : dnnl::cpu_isa::sse41;
  dnnl_set_max_cpu_isa(
      static_cast<dnnl_cpu_isa_t>(limit));  // refused once oneDNN has been used: then the probe decides
#else
  static_cast<void>(isa);
#endif
}

void apply(Isa isa) {
  hwy::DisableTargets(0);
  if (isa == Isa::ref) return;
  const int64_t target = highway_target(isa);
  hwy::DisableTargets(hwy::SupportedTargets() & (target - 1));  // lower bits are better targets
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

Isa initial_isa() {
  const std::vector<Isa> supported = supported_isas();
  const char* wanted = std::getenv("GRADUS_ISA");
  if (wanted == nullptr || *wanted == 0) return supported.back();
  const std::optional<Isa> isa = isa_from_name(wanted);
  if (!isa)
    fail(ErrorCode::invalid_argument, "GRADUS_ISA is '{}', but must be ref, sse4, avx2, avx512, avx512bf16 or neon",
         wanted);
  if (std::find(supported.begin(), supported.end(), *isa) == supported.end()) {
    fail(ErrorCode::unsupported, "GRADUS_ISA is {}, which this machine does not have; its best is {}", wanted,
         name(supported.back()));
  }
  return *isa;
}

std::atomic<Isa>& slot() {
  static std::atomic<Isa> isa = [] {
    const Isa first = initial_isa();
    limit_onednn(first);
    apply(first);
    return first;
  }();
  return isa;
}

}  // namespace

std::string_view name(Isa isa) {
  constexpr std::string_view kNames[] = {"ref", "sse4", "avx2", "avx512", "avx512bf16", "neon"};
  return kNames[static_cast<int>(isa)];
}

std::optional<Isa> isa_from_name(std::string_view text) {
  for (const Isa isa : {Isa::ref, Isa::sse4, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::neon}) {
    if (text == name(isa)) return isa;
  }
  return std::nullopt;
}

std::vector<Isa> supported_isas() {
  static const int64_t mask = [] {
    hwy::DisableTargets(0);
    return hwy::SupportedTargets();
  }();
  std::vector<Isa> out = {Isa::ref};
  for (const Isa isa : kVectorIsas) {
    if ((mask & highway_target(isa)) && (isa != Isa::avx512bf16 || has_avx512_bf16())) out.push_back(isa);
  }
  return out;
}

Isa active_isa() {
  return slot().load(std::memory_order_relaxed);
}

void set_isa(Isa isa) {
  const std::vector<Isa> supported = supported_isas();
  if (std::find(supported.begin(), supported.end(), isa) == supported.end()) {
    fail(ErrorCode::unsupported, "instruction set {} is not available on this machine; its best is {}", name(isa),
         name(supported.back()));
  }
  slot().store(isa, std::memory_order_relaxed);
  apply(isa);
}

bool fused_multiply_add() {
  return active_isa() != Isa::sse4;
}

}  // namespace gradus::kernels
