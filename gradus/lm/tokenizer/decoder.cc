#include "gradus/lm/tokenizer/decoder.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "gradus/core/error.h"
#include "gradus/lm/tokenizer/byte_characters.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

using Emit = std::function<void(std::string_view text, bool begins_token)>;

// Bytes in, text out; a sequence that may still become a character is held back.
class Utf8Assembler {
 public:
  explicit Utf8Assembler(bool replace_invalid) : replace_invalid_(replace_invalid) {}

  // What is final of what came so far and `bytes`.
  std::string push(std::string_view bytes) {
    held_ += bytes;
    std::string out;
    std::size_t from = 0;
    while (true) {
      const std::size_t bad = find_invalid_utf8(held_, from);
      out.append(held_, from, std::min(bad, held_.size()) - from);
      from = std::min(bad, held_.size());
      if (bad == std::string::npos) break;
      const InvalidUtf8 invalid = measure_invalid_utf8(std::string_view(held_).substr(bad));
      if (invalid.may_go_on) break;
      append_invalid(out, static_cast<std::size_t>(invalid.n_bytes), bad);
      from = bad + static_cast<std::size_t>(invalid.n_bytes);
    }
    held_.erase(0, from);
    return out;
  }
  std::string finish() {
    std::string out;
    if (!held_.empty()) append_invalid(out, held_.size(), 0);
    held_.clear();
    return out;
  }

 private:
  void append_invalid(std::string& out, std::size_t n, std::size_t at) const {
    out += replace_invalid_ ? kReplacementCharacter : std::string_view(held_).substr(at, n);
  }

  bool replace_invalid_;
  std::string held_;
};

std::optional<uint8_t> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    // from_str_radix of Rust takes a sign, too: "+4" is 4.
    if (digit < 0 && !(c == '+' && &c == token.data() + 3)) return std::nullopt;
    value = digit < 0 ? 0 : value * 16 + digit;
  }
  return static_cast<uint8_t>(value);
}

}  // namespace

std::string bytes_of_token(std::string_view token) {
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const auto width = static_cast<std::size_t>(std::max(decode_utf8(token.substr(at)).n_bytes, 1));
    const std::optional<uint8_t> byte = byte_of_character(token.substr(at, width));
    if (!byte) return std::string(token);
    bytes += static_cast<char>(*byte);
    at += width;
  }
  return bytes;
}

// A step with its state. A token may come in several texts, the first of which begins it.
class DecoderChain::Stage {
 public:
  virtual ~Stage() = default;
  virtual void push(std::string_view text, bool begins_token, const Emit& emit) = 0;
  virtual void finish(const Emit&) {}
};

namespace {

using Rewrite = std::function<std::string(std::string_view)>;

// f(token) comes out of each token.
class WholeTokenStage final : public DecoderChain::Stage {
 public:
  explicit WholeTokenStage(Rewrite f) : f_(std::move(f)) {}

  void push(std::string_view text, bool begins_token, const Emit& emit) override {
    if (begins_token) finish(emit);
    held_ = held_.value_or("") + std::string(text);
    check_length(held_->size());
  }
  void finish(const Emit& emit) override {
    if (held_) emit(f_(*held_), true);
    held_.reset();
  }

 private:
  Rewrite f_;
  std::optional<std::string> held_;
};

// f(text) comes out of each part of a token.
class PartStage final : public DecoderChain::Stage {
 public:
  explicit PartStage(Rewrite f) : f_(std::move(f)) {}

  void push(std::string_view text, bool begins_token, const Emit& emit) override { emit(f_(text), begins_token); }

 private:
  Rewrite f_;
};

class FuseStage final : public DecoderChain::Stage {
 public:
  void push(std::string_view text, bool, const Emit& emit) override { emit(text, std::exchange(first_, false)); }

 private:
  bool first_ = true;
};

class JoinStage final : public DecoderChain::Stage {
 public:
  void push(std::string_view text, bool begins_token, const Emit& emit) override {
    if (begins_token && !std::exchange(first_, false)) emit(" ", true);
    emit(text, true);
  }

 private:
  bool first_ = true;
};

class ByteLevelStage final : public DecoderChain::Stage {
 public:
  ByteLevelStage(bool replace_invalid, bool in_bytes) : utf8_(replace_invalid), in_bytes_(in_bytes) {}

  void push(std::string_view text, bool, const Emit& emit) override {
    emit(in_bytes_ ? utf8_.push(text) : utf8_.push(bytes_of_token(text)), std::exchange(first_, false));
  }
  void finish(const Emit& emit) override { emit(utf8_.finish(), std::exchange(first_, false)); }

 private:
  Utf8Assembler utf8_;
  bool in_bytes_;
  bool first_ = true;
};

// A run of byte tokens is one text when it is UTF-8, and a U+FFFD for each byte when it is not: its last byte decides.
class ByteFallbackStage final : public DecoderChain::Stage {
 public:
  explicit ByteFallbackStage(bool replace_invalid) : replace_invalid_(replace_invalid), raw_(false) {}

  void push(std::string_view text, bool, const Emit& emit) override {
    const std::optional<uint8_t> byte = fallback_byte(text);
    if (!byte) {
      finish(emit);
      emit(text, true);
      return;
    }
    const char c = static_cast<char>(*byte);
    if (replace_invalid_) {
      run_ += c;
    } else if (const std::string out = raw_.push({&c, 1}); !out.empty()) {
      emit(out, std::exchange(begins_, false));
    }
  }
  void finish(const Emit& emit) override {
    if (const std::string rest = raw_.finish(); !rest.empty()) emit(rest, begins_);
    begins_ = true;
    if (!run_.empty() && find_invalid_utf8(run_) == std::string::npos) {
      emit(run_, true);
    } else {
      for (std::size_t i = 0; i < run_.size(); ++i) emit(kReplacementCharacter, true);
    }
    run_.clear();
  }

 private:
  bool replace_invalid_;
  Utf8Assembler raw_;
  std::string run_;
  bool begins_ = true;
};

class StripStage final : public DecoderChain::Stage {
 public:
  StripStage(StripCharacter strip, bool whole) : strip_(std::move(strip)), whole_(whole) {}

  void push(std::string_view text, bool begins_token, const Emit& emit) override {
    if (begins_token) {
      held_.clear();  // the end of the token before: stripped
      n_left_ = strip_.start;
    }
    std::string rest = held_ + std::string(text);
    held_.clear();
    while (n_left_ > 0 && !rest.empty()) {
      if (!rest.starts_with(strip_.content)) {
        n_left_ = 0;
        break;
      }
      rest.erase(0, strip_.content.size());
      --n_left_;
    }
    std::size_t end = rest.size();
    for (std::size_t n = 0; n < strip_.stop && std::string_view(rest).substr(0, end).ends_with(strip_.content); ++n)
      end -= strip_.content.size();
    held_ = rest.substr(end);
    if (whole_) held_.clear();
    emit(std::string_view(rest).substr(0, end), begins_token);
  }

 private:
  StripCharacter strip_;
  bool whole_;
  std::size_t n_left_ = 0;
  std::string held_;  // what is stripped if the token ends here
};

class MetaspaceStage final : public DecoderChain::Stage {
 public:
  explicit MetaspaceStage(FromMetaspace m) : m_(std::move(m)) {}

  void push(std::string_view text, bool begins_token, const Emit& emit) override {
    if (begins_token) n_tokens_ = std::min(n_tokens_ + 1, 2);
    emit(replace_all(text, {m_.replacement, n_tokens_ == 1 && m_.drops_first ? "" : " "}), begins_token);
  }

 private:
  FromMetaspace m_;
  int n_tokens_ = 0;
};

}  // namespace

DecoderChain::DecoderChain(const Decoder& decoder, bool replace_invalid, bool in_bytes) {
  if (decoder.joins_with_spaces) stages_.push_back(std::make_unique<JoinStage>());
  bool whole = true;
  for (const DecoderStep& step : decoder.steps) {
    if (std::holds_alternative<FromByteLevel>(step)) {
      stages_.push_back(std::make_unique<ByteLevelStage>(replace_invalid, in_bytes && stages_.empty()));
      whole = false;
    } else if (std::holds_alternative<Fuse>(step)) {
      stages_.push_back(std::make_unique<FuseStage>());
      whole = false;
    } else if (std::holds_alternative<FromByteFallback>(step)) {
      if (!whole) stages_.push_back(std::make_unique<WholeTokenStage>([](auto text) { return std::string(text); }));
      stages_.push_back(std::make_unique<ByteFallbackStage>(replace_invalid));
      whole = replace_invalid;
    } else if (const auto* replacement = std::get_if<Replacement>(&step)) {
      // One character is found in whatever parts a token comes; anything else in the whole of it.
      const auto* text = std::get_if<std::string>(&replacement->pattern);
      const bool in_parts = text != nullptr && static_cast<std::size_t>(decode_utf8(*text).n_bytes) == text->size();
      const auto replace = [r = *replacement](std::string_view t) { return replace_all(t, r); };
      if (in_parts || whole) {
        stages_.push_back(std::make_unique<PartStage>(replace));
      } else {
        stages_.push_back(std::make_unique<WholeTokenStage>(replace));
        whole = true;
      }
    } else if (const auto* strip = std::get_if<StripCharacter>(&step)) {
      stages_.push_back(std::make_unique<StripStage>(*strip, whole));
    } else {
      stages_.push_back(std::make_unique<MetaspaceStage>(std::get<FromMetaspace>(step)));
    }
  }
}

DecoderChain::DecoderChain(DecoderChain&&) noexcept = default;
DecoderChain& DecoderChain::operator=(DecoderChain&&) noexcept = default;
DecoderChain::~DecoderChain() = default;

void DecoderChain::send(std::size_t stage, std::string_view text, bool begins_token) {
  if (stage == stages_.size()) {
    check_length(text_.size() + text.size());
    text_ += text;
    return;
  }
  stages_[stage]->push(text, begins_token, [&](std::string_view out, bool begins) { send(stage + 1, out, begins); });
}

void DecoderChain::push(std::string_view token) {
  send(0, token, true);
}

void DecoderChain::finish() {
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    stages_[stage]->finish([&](std::string_view out, bool begins) { send(stage + 1, out, begins); });
  }
}

}  // namespace gradus::lm
