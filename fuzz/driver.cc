// Stands in for libFuzzer where the compiler has none: runs the target on the files of a corpus, then on random changes
// of them. The same seed gives the same inputs.  Usage: fuzz_NAME [--iterations N] [--seed N] FILE|FOLDER ...
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "fuzz/fuzz.h"
#include "gradus/core/file.h"
#include "gradus/core/rng.h"

namespace {

using gradus::Purpose;
using gradus::Rng;

constexpr size_t kMaxBytes = 1 << 16;

// Pieces that readers of JSON and of binary offsets treat specially.
const std::string kPieces[] = {"{",
                               "}",
                               "[",
                               "]",
                               "\"",
                               ",",
                               ":",
                               "null",
                               "true",
                               "-1",
                               "0",
                               "1e99",
                               "\\u0000",
                               "\xff",
                               "\xc3\xa9",
                               "18446744073709551615",
                               "9223372036854775807",
                               "4294967296",
                               "F32",
                               std::string(8, '\xff'),
                               std::string(8, '\0')};

size_t place(Rng& rng, const std::string& bytes) {
  return static_cast<size_t>(rng.below(static_cast<int64_t>(bytes.size()) + 1));
}

std::string mutate(std::string bytes, const std::string& other, Rng& rng) {
  for (int64_t n = rng.below(4); n >= 0; --n) {
    const size_t at = place(rng, bytes), length = static_cast<size_t>(rng.below(16));
    switch (rng.below(6)) {
      case 0:
        if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
        break;
      case 1:
        bytes.insert(at, kPieces[static_cast<size_t>(rng.below(std::size(kPieces)))]);
        break;
      case 2:
        bytes.erase(at, length);
        break;
      case 3:
        bytes.insert(at, bytes.substr(place(rng, bytes), length));
        break;
      case 4:
        bytes.resize(at);
        break;
      case 5:
        bytes = bytes.substr(0, at) + other.substr(place(rng, other));
        break;
    }
  }
  if (bytes.size() > kMaxBytes) bytes.resize(kMaxBytes);
  return bytes;
}

void run(const std::string& bytes) {
  // An exact copy on the heap, so that AddressSanitizer sees a read of one byte too many.
  const std::vector<uint8_t> copy(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t iterations = 0, seed = 0;
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if ((argument == "--iterations" || argument == "--seed") && i + 1 < argc) {
      (argument == "--seed" ? seed : iterations) = std::strtoull(argv[++i], nullptr, 10);
    } else if (std::filesystem::is_directory(argument)) {
      for (const auto& entry : std::filesystem::directory_iterator(argument)) files.push_back(entry.path());
    } else {
      files.emplace_back(argument);
    }
  }
  std::sort(files.begin(), files.end());

  std::vector<std::string> corpus{""};
  for (const auto& file : files) corpus.push_back(gradus::read_file(file));
  for (const std::string& bytes : corpus) run(bytes);
  for (uint64_t i = 0; i < iterations; ++i) {
    Rng rng(seed, Purpose::test, i);
    const auto pick = [&]() -> const std::string& {
      return corpus[static_cast<size_t>(rng.below(static_cast<int64_t>(corpus.size())))];
    };
    const std::string& base = pick();
    run(mutate(base, pick(), rng));
  }
  std::printf("%zu files and %llu changes of them: no finding\n", corpus.size() - 1,
              static_cast<unsigned long long>(iterations));
  return 0;
}
