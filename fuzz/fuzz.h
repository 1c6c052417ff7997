// What every fuzz target has in common. A target is one file fuzz_NAME.cc that defines LLVMFuzzerTestOneInput: it gives
// the bytes to a reader, lets gradus::Error with an expected code pass, and dies on anything else. fuzz/driver.cc or
// libFuzzer calls it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string_view>

#include "gradus/core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace gradus::fuzz {

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A broken property: prints it and aborts, which is what a fuzzer takes for a crash.
inline void expect(bool ok, const char* property) {
  if (ok) return;
  std::fprintf(stderr, "broken property: %s\n", property);
  std::abort();
}

// Runs `read`; any exception but an Error with one of `codes` ends the process. The message must be one line.
template <class Read>
void expect_only(std::initializer_list<ErrorCode> codes, Read read) {
  try {
    read();
  } catch (const Error& e) {
    bool known = false;
    for (ErrorCode code : codes) known = known || e.code() == code;
    expect(known, e.what());
    expect(std::string_view(e.what()).find('\n') == std::string_view::npos, "the message is one line");
  }
}

}  // namespace gradus::fuzz
