// Encodes and decodes texts with Gradus, for check.py to compare with the `tokenizers` package.
//   tokenize FOLDER TEXTS OUT ROUNDS [plain] [special] [skip]
// TEXTS: uint32 size, bytes, ... OUT, per text: uint32 n, int32 ids[n], uint32 size, the bytes that they are decoded
// to. Prints the seconds that the fastest of ROUNDS passes of encode took, and of decode.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "gradus/core/file.h"
#include "gradus/lm/tokenizer/tokenizer.h"

using namespace gradus;

namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void put(std::string& out, uint32_t value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 5) return 2;
  const std::filesystem::path folder = argv[1];
  const auto config = folder / "tokenizer_config.json";
  double begin = seconds();
  const lm::Tokenizer tokenizer = lm::parse_tokenizer_json(read_file(folder / "tokenizer.json"), "tokenizer.json",
                                                           std::filesystem::exists(config) ? read_file(config) : "");
  const double load_s = seconds() - begin;
  lm::EncodeOptions encode;
  lm::DecodeOptions decode{.skip_special = false, .replace_invalid = true};
  for (int i = 5; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "plain") encode.special_as_text = true;
    if (word == "special") encode.add_special = true;
    if (word == "skip") decode.skip_special = true;
  }

  const std::string bytes = read_file(argv[2]);
  std::vector<std::string_view> texts;
  for (std::size_t at = 0; at < bytes.size();) {
    uint32_t size = 0;
    std::memcpy(&size, bytes.data() + at, sizeof(size));
    texts.push_back(std::string_view(bytes).substr(at + sizeof(size), size));
    at += sizeof(size) + size;
  }
  std::vector<std::vector<int32_t>> ids(texts.size());
  std::vector<std::string> decoded(texts.size());
  double encode_s = 1e9, decode_s = 1e9;
  for (int round = 0; round < std::atoi(argv[4]); ++round) {
    begin = seconds();
    for (std::size_t i = 0; i < texts.size(); ++i) ids[i] = tokenizer.encode(texts[i], encode);
    encode_s = std::min(encode_s, seconds() - begin);
    begin = seconds();
    for (std::size_t i = 0; i < texts.size(); ++i) decoded[i] = tokenizer.decode(ids[i], decode);
    decode_s = std::min(decode_s, seconds() - begin);
  }
  std::string out;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    put(out, static_cast<uint32_t>(ids[i].size()));
    out.append(reinterpret_cast<const char*>(ids[i].data()), ids[i].size() * sizeof(int32_t));
    put(out, static_cast<uint32_t>(decoded[i].size()));
    out += decoded[i];
  }
  write_file_atomically(argv[3], out);
  std::printf("{\"load_s\": %.4f, \"encode_s\": %.4f, \"decode_s\": %.4f}\n", load_s, encode_s, decode_s);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
