#include "gradus/lm/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

// Ruby's ^ and $ stand at every line; line ends are \n alone. Patterns of a model are a few hundred bytes.
constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
constexpr std::size_t kLongestPattern = 1 << 16;
// A match that backtracks more often than this is refused. A word of the published patterns takes fewer than 100 steps;
// ten million take some tens of milliseconds.
constexpr uint32_t kMostSteps = 10'000'000;
constexpr uint32_t kMostKilobytes = 64 * 1024;

struct Free {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  return pcre2_get_error_message(code, text, sizeof(text)) > 0 ? reinterpret_cast<const char*>(text) : "unknown error";
}

std::shared_ptr<pcre2_code> compile(std::string_view pattern, std::string_view shown, std::string_view origin) {
  const Owned<pcre2_compile_context> context(pcre2_compile_context_create(nullptr));
  GRADUS_CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE at = 0;
  std::shared_ptr<pcre2_code> program(
      pcre2_compile(units(pattern), pattern.size(), kOptions, &code, &at, context.get()), Free{});
  if (program == nullptr)
    fail(ErrorCode::corrupt, "{}: the regular expression {} is none: {}", origin, quote_text(shown), message_of(code));
  pcre2_jit_compile(program.get(), PCRE2_JIT_COMPLETE);  // where there is no JIT, the interpreter works as well
  return program;
}

// Calls `found(begin, end)` for each match.
template <class Found>
void for_each_match(const pcre2_code* program, std::string_view text, std::string_view shown, const Found& found) {
  const Owned<pcre2_match_data> data(pcre2_match_data_create(1, nullptr));
  const Owned<pcre2_match_context> context(pcre2_match_context_create(nullptr));
  GRADUS_CHECK(data != nullptr && context != nullptr);
  pcre2_set_match_limit(context.get(), kMostSteps);
  pcre2_set_depth_limit(context.get(), kMostSteps);
  pcre2_set_heap_limit(context.get(), kMostKilobytes);
  std::size_t from = 0, last_end = std::string_view::npos;
  while (from <= text.size()) {
    const auto match = [&](uint32_t options) {
      return pcre2_match(program, units(text), text.size(), from, PCRE2_NO_UTF_CHECK | options, data.get(),
                         context.get());
    };
    int result = match(0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = match(PCRE2_NO_JIT);  // which has a stack of kMostKilobytes
    if (result == PCRE2_ERROR_NOMATCH) return;
    if (result < 0) {
      fail(ErrorCode::exhausted, "tokenizer: the regular expression {} gave up on a text of {} bytes: {}",
           quote_text(shown), text.size(), message_of(result));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
    if (ends[1] < ends[0] || ends[0] < from) {  // \K in a lookaround
      fail(ErrorCode::unsupported, "tokenizer: the regular expression {} matches backwards", quote_text(shown));
    }
    if (ends[0] == ends[1] && ends[1] == last_end) {
      from += from < text.size() ? static_cast<std::size_t>(decode_valid_utf8(text.substr(from)).n_bytes) : 1;
      continue;
    }
    from = last_end = ends[1];
    found(ends[0], ends[1]);
  }
}

}  // namespace

Regex::Regex(std::string pattern, std::string_view origin) : pattern_(std::move(pattern)) {
  if (pattern_.size() > kLongestPattern) {
    fail(ErrorCode::unsupported, "unsupported: {} has a regular expression of {} bytes; at most {} are possible",
         origin, pattern_.size(), kLongestPattern);
  }
  program_ = compile(pcre2_pattern(pattern_, origin), pattern_, origin);
}

std::vector<Match> Regex::find_all(std::string_view text) const {
  std::vector<Match> matches;
  for_each_match(static_cast<const pcre2_code*>(program_.get()), text, pattern_,
                 [&](std::size_t begin, std::size_t end) {
                   matches.push_back({begin, end});
                 });
  return matches;
}

// Beyond U+3FFFF all is unassigned or for private use in every version of Unicode, but for one block.
ClassItems::ClassItems() {
  for (char32_t c = 0; c < 0xE1000; c = c == 0x3FFFF ? 0xE0000 : c + 1) {
    if (c >= 0xD800 && c < 0xE000) continue;
    append_utf8(everything_, c);
    at_byte_.resize(everything_.size(), c);
  }
}

std::string ClassItems::operator()(std::string_view base, const std::vector<bool>& is_member) const {
  std::vector<bool> has = is_member;  // beyond what is probed, PCRE2 agrees
  if (base.empty()) {
    has.assign(has.size(), false);
  } else {
    for (const char32_t c : at_byte_) has[c] = false;
    const auto program = compile(fmt::format("[{}]+", base), base, "tokenizer");
    for_each_match(program.get(), everything_, base, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) has[at_byte_[i]] = true;
    });
  }
  bool base_has_more = false;
  for (const char32_t c : at_byte_) base_has_more = base_has_more || (has[c] && !is_member[c]);
  std::string ranges = base_has_more ? "" : std::string(base);
  const auto is_missing = [&](char32_t c) { return is_member[c] && (base_has_more || !has[c]); };
  for (char32_t c = 0; c < is_member.size(); ++c) {
    if (!is_missing(c)) continue;
    const char32_t first = c;
    while (c + 1 < is_member.size() && is_missing(c + 1)) ++c;
    ranges += fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(first));
    if (c > first) ranges += fmt::format("-\\x{{{:x}}}", static_cast<uint32_t>(c));
  }
  return ranges;
}

}  // namespace gradus::lm
