// A hostile tokenizer.json: read, corrupt or unsupported; what was read encodes and decodes without harm.
#include <string>
#include <vector>

#include "fuzz/fuzz.h"
#include "gradus/lm/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gradus;
  const std::string_view text = fuzz::as_text(data, size);
  fuzz::expect_only({ErrorCode::corrupt, ErrorCode::unsupported}, [&] {
    const lm::Tokenizer t = lm::parse_tokenizer_json(text, "fuzz");
    fuzz::expect(lm::tokenizer_json(t) == text, "a file is saved as it was read");
    const lm::Tokenizer again = lm::parse_tokenizer_json(text, "again", "");
    fuzz::expect(again == t, "a tokenizer survives the round trip");
    // Texts that words, numbers, white space, special tokens and bytes without a meaning are in.
    std::vector<std::string> texts = {"Hello, w\xc3\xb6rld!  It's 2026\n\n<|eot_id|> [R] \xe4\xbd\xa0", "\xff\xe2\x82",
                                      ""};
    for (int32_t id = 0; id < t.n_vocab(); id += 37) texts.push_back(t.token(id));
    for (const std::string& sample : texts) {
      fuzz::expect_only({ErrorCode::invalid_argument, ErrorCode::exhausted, ErrorCode::unsupported}, [&] {
        const std::vector<int32_t> ids = t.encode(sample, {.add_special = true});
        lm::StreamDecoder stream(t, {.replace_invalid = true});
        std::string decoded;
        for (const int32_t id : ids) decoded += stream.push(id);
        decoded += stream.finish();
        fuzz::expect(decoded == t.decode(ids, {.replace_invalid = true}), "a stream is the text at once");
      });
    }
  });

  // The same bytes as text to encode, and as tokenizer_config.json.
  static const lm::Tokenizer tokenizer = lm::character_tokenizer("01{}[]\":, \n\xc3\xa9", "$");
  fuzz::expect_only({ErrorCode::invalid_argument}, [&] {
    fuzz::expect(tokenizer.decode(tokenizer.encode(text)) == text, "encoded text decodes to itself");
  });
  static const lm::Tokenizer bytes = lm::byte_tokenizer();
  fuzz::expect(bytes.decode(bytes.encode(text)) == text, "any bytes decode to themselves");
  static const std::string file = lm::tokenizer_json(tokenizer);
  fuzz::expect_only({ErrorCode::corrupt}, [&] { lm::parse_tokenizer_json(file, "fuzz", text); });
  return 0;
}
