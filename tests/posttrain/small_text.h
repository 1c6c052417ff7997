// Text for tests: sentences of a few words, so that a tiny model learns something of it, and numbered lines, so that
// any part of it tells where it stands.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "gradus/core/file.h"
#include "gradus/core/rng.h"

namespace gradus::posttrain {

// n sentences such as "the cat sees a dog.\n".
inline std::string sentences(int n, uint64_t seed = 1) {
  static constexpr const char* kNouns[] = {"cat", "dog", "bird", "old man", "girl"};
  static constexpr const char* kVerbs[] = {"sees", "likes", "follows"};
  Rng rng(seed, Purpose::test);
  std::string text;
  for (int i = 0; i < n; ++i) {
    const auto noun = [&] { return kNouns[rng.below(5)]; };
    const char* subject = noun();
    const char* verb = kVerbs[rng.below(3)];
    text += fmt::format("the {} {} a {}.\n", subject, verb, noun());
  }
  return text;
}

// "0000000\n0000001\n...": eight bytes a line.
inline std::string numbered_lines(int first, int n) {
  std::string text;
  for (int i = first; i < first + n; ++i) text += fmt::format("{:07d}\n", i);
  return text;
}

// Files of sentences below `folder`, which is made: about 20 kB.
inline std::string write_small_text(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder / "more");
  for (int i = 0; i < 6; ++i) {
    const std::string name = fmt::format("{}{}.txt", i % 2 == 0 ? "" : "more/", i);
    write_file_atomically(folder / name, sentences(150, static_cast<uint64_t>(i)));
  }
  return folder.string();
}

}  // namespace gradus::posttrain
