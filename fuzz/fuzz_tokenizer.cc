// A hostile tokenizer.json: read, corrupt or unsupported, and what was read survives writing and reading.
#include "fuzz/fuzz.h"
#include "gradus/lm/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gradus;
  const std::string_view text = fuzz::as_text(data, size);
  fuzz::expect_only({ErrorCode::corrupt, ErrorCode::unsupported}, [&] {
    const lm::Tokenizer t = lm::parse_tokenizer_json(text, "fuzz");
    const lm::Tokenizer again = lm::parse_tokenizer_json(lm::tokenizer_json(t), "again", lm::tokenizer_config_json(t));
    fuzz::expect(again == t, "a tokenizer survives the round trip");
    std::vector<int32_t> ids;
    for (int32_t id = 0; id < t.n_vocab(); ++id) ids.push_back(id);
    fuzz::expect(t.decode(t.encode(t.decode(ids))) == t.decode(ids), "text of the vocabulary survives the round trip");
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
