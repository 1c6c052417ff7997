#include "gradus/posttrain/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"
#include "tests/posttrain/small_text.h"

namespace gradus::posttrain {
namespace {

namespace fs = std::filesystem;
using gradus::testing::TemporaryFolder;
using ::testing::HasSubstr;

void write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  write_file_atomically(path, bytes);
}

// As text, "|" for the end of a file.
std::string shown(std::span<const Symbol> symbols) {
  std::string text;
  for (const Symbol s : symbols) text += s == kEndOfFile ? '|' : static_cast<char>(s);
  return text;
}

std::vector<std::string> texts_of(const TextSide& side) {
  std::vector<std::string> texts;
  size_t begin = 0;
  for (const size_t end : side.ends) {
    texts.push_back(shown(std::span(side.symbols).subspan(begin, end - begin)));
    begin = end;
  }
  return texts;
}

TEST(Text, AnyByteOfAnyFileIsOnExactlyOneSide) {
  const TemporaryFolder folder;
  std::string bytes;
  for (int i = 0; i < 20'000; ++i) bytes += static_cast<char>(i * i % 251 + i / 4000);
  write(folder / "binary", bytes);
  const Text text(folder / "binary");
  std::vector<int> counts(257, 0), want(257, 0);
  for (const TextSide* side : {&text.training(), &text.held_out()}) {
    for (const Symbol s : side->symbols) ++counts[s];
  }
  for (const char c : bytes) ++want[static_cast<unsigned char>(c)];
  want[kEndOfFile] = 1;
  EXPECT_EQ(counts, want);
  EXPECT_EQ(text.training().bytes + text.held_out().bytes, 20'000);
  EXPECT_GT(text.held_out().bytes, 20'000 / 64);
  EXPECT_LT(text.held_out().bytes, 20'000 / 4);
}

TEST(Text, FilesOfAFolderComeInTheOrderOfTheirPaths) {
  const TemporaryFolder folder;
  write(folder / "b/one.txt", numbered_lines(100, 100));
  write(folder / "a.txt", numbered_lines(0, 100));
  write(folder / "b/deep/er/two", numbered_lines(200, 100));
  write(folder / "b/empty", "");
  write(folder / ".git/objects/pack", "hidden");
  write(folder / ".profile", "hidden");
  fs::create_directory_symlink(folder.path(), folder / "b/circle");
  fs::create_symlink(folder / "nowhere", folder / "b/broken");
  const Text text(folder.path());
  EXPECT_THAT(text.about(), HasSubstr("3 files, 2.40k bytes: "));
  std::vector<std::string> texts = texts_of(text.training());
  std::string all;
  for (const std::string& t : texts) all += t;
  EXPECT_THAT(all, Not(HasSubstr("hidden")));
  std::vector<size_t> places;
  for (const char* line : {"0000042\n", "0000242\n", "0000142\n"}) places.push_back(all.find(line));
  EXPECT_TRUE(std::ranges::is_sorted(places)) << "a.txt, b/deep/er/two, b/one.txt";
}

TEST(Text, HeldOutBytesAreInNoTrainingWindow) {
  const TemporaryFolder folder;
  write(folder / "a", numbered_lines(0, 3000));
  write(folder / "b", numbered_lines(3000, 900));
  const Text text(folder.path());
  std::set<std::string> held_out;
  for (const std::string& t : texts_of(text.held_out())) {
    for (size_t at = 0; at + 8 <= t.size(); at += 8) held_out.insert(t.substr(at, 8));  // pieces begin at a line
  }
  ASSERT_GT(held_out.size(), 100u);
  const WindowDraw windows(text.training().ends, 101);
  std::set<std::string> seen;
  for (uint64_t i = 0; i < 3000; ++i) {
    Rng rng(1, Purpose::data, i);
    std::string window = shown(windows.draw(rng).of(text.training().symbols));
    ASSERT_EQ(window.size(), 101u);
    for (size_t at = window.find('\n') + 1; at + 8 <= window.size(); at += 8) {
      if (window[at] == '|') ++at;
      if (at + 8 > window.size()) break;
      const std::string line = window.substr(at, 8);
      EXPECT_FALSE(held_out.contains(line)) << line;
      seen.insert(line);
    }
  }
  EXPECT_GT(seen.size(), 3500u) << "windows reach nearly all of the text for training";
}

TEST(Text, WindowsGoOnFromFileToFileButNotOverAGap) {
  const TemporaryFolder folder;
  write(folder / "a", numbered_lines(0, 3000));
  write(folder / "b", numbered_lines(3000, 1000));
  const std::string whole = numbered_lines(0, 3000) + '|' + numbered_lines(3000, 1000) + '|';
  const Text text(folder.path());
  for (const TextSide* side : {&text.training(), &text.held_out()}) {
    for (const std::string& t : texts_of(*side)) {
      // Of a text that jumps, each part ends a file.
      for (size_t begin = 0; begin < t.size();) {
        size_t end = t.size();
        while (whole.find(t.substr(begin, end - begin)) == whole.npos) end = t.rfind('|', end - 2) + 1;
        EXPECT_TRUE(end == t.size() || t[end - 1] == '|');
        begin = end;
      }
    }
  }
  EXPECT_GT(text.training().ends.size(), 1u);
}

TEST(Text, EqualPiecesAreOnOneSideWhereverTheyStand) {
  const TemporaryFolder one, two;
  const std::string a = numbered_lines(0, 2048);
  write(one / "a", a);
  write(one / "copy/of/a", a);
  const Text doubled(one.path());
  EXPECT_EQ(doubled.held_out().pieces % 2, 0);
  const std::vector<std::string> texts = texts_of(doubled.held_out());
  for (const std::string& t : texts) EXPECT_EQ(std::ranges::count(texts, t), 2) << t.substr(0, 20);

  write(two / "x", a);
  write(two / "y", a);
  EXPECT_EQ(Text(two.path()).held_out().symbols, doubled.held_out().symbols);
}

TEST(Text, PiecesOfLittleTextAreSmall) {
  EXPECT_EQ(Text::piece_bytes(1), 64);
  EXPECT_EQ(Text::piece_bytes(64 * 128 - 1), 64);
  EXPECT_EQ(Text::piece_bytes(64 * 128), 128);
  EXPECT_EQ(Text::piece_bytes(64 * 8192), 8192);
  EXPECT_EQ(Text::piece_bytes(int64_t{1} << 32), 8192);
}

TEST(Text, LittleTextHasBothSides) {
  const TemporaryFolder folder;
  for (int n : {20, 30, 50, 100}) {
    write(folder / "little", numbered_lines(7, n));
    const Text text(folder / "little");
    EXPECT_GT(text.held_out().bytes, 0) << n;
    EXPECT_GT(text.training().bytes, text.held_out().bytes) << n;
  }
}

TEST(Text, FingerprintIsOfBytesAndFiles) {
  const TemporaryFolder folder;
  const auto fingerprint = [&](const std::string& a, const std::string& b) {
    write(folder / "a", a);
    write(folder / "b", b);
    return Text(folder.path()).fingerprint();
  };
  const uint64_t want = fingerprint(numbered_lines(0, 64), numbered_lines(64, 64));
  EXPECT_EQ(fingerprint(numbered_lines(0, 64), numbered_lines(64, 64)), want);
  EXPECT_NE(fingerprint(numbered_lines(0, 72), numbered_lines(72, 56)), want);
  EXPECT_NE(fingerprint(numbered_lines(0, 64), numbered_lines(64, 63) + "0000127 "), want);
}

TEST(Text, WhatIsNoTextIsRefused) {
  const TemporaryFolder folder;
  EXPECT_GRADUS_ERROR(Text(folder / "none"), not_found, "none: no such file or folder");
  EXPECT_GRADUS_ERROR(Text(folder.path()), invalid_argument, "no file in this folder");
  write(folder / "empty", "");
  EXPECT_GRADUS_ERROR(Text(folder / "empty"), invalid_argument, "empty: no text, not one byte");
  write(folder / "short", "word");
  EXPECT_GRADUS_ERROR(Text(folder / "short"), invalid_argument, "short: 4 bytes are too little text");
  write(folder / "zeros", std::string(1 << 14, '0'));
  EXPECT_GRADUS_ERROR(Text(folder / "zeros"), invalid_argument, "its 64 pieces are all alike");
  EXPECT_GRADUS_ERROR(Text("/dev/null"), invalid_argument, "/dev/null: neither a file nor a folder");
}

TEST(ConsecutiveWindows, PredictEverySymbolButTheFirstOfATextOnce) {
  TextSide side;
  for (Symbol s = 0; s < 31; ++s) side.symbols.push_back(s);
  side.ends = {1, 3, 13, 22, 31};  // of 1, 2, 10, 9 and 9 symbols
  for (const int64_t context : {1, 2, 3, 8, 100}) {
    std::vector<Symbol> predicted;
    for (const Window& window : consecutive_windows(side.ends, context)) {
      const std::span<const Symbol> w = window.of(side.symbols);
      EXPECT_GE(w.size(), 2u);
      EXPECT_LE(w.size(), static_cast<size_t>(context) + 1);
      predicted.insert(predicted.end(), w.begin() + 1, w.end());
    }
    std::vector<Symbol> want;
    for (Symbol s = 0; s < 31; ++s) {
      if (s != 0 && s != 1 && s != 3 && s != 13 && s != 22) want.push_back(s);
    }
    EXPECT_EQ(predicted, want) << context;
  }
}

TEST(WindowDraw, AllPlacesAreEquallyLikely) {
  TextSide side;
  for (Symbol s = 0; s < 20; ++s) side.symbols.push_back(s);
  side.ends = {2, 8, 9, 20};  // windows of 3: none, 4, none, 9
  const WindowDraw windows(side.ends, 3);
  EXPECT_EQ(windows.n_windows(), 13);
  std::vector<int> counts(20, 0);
  for (uint64_t i = 0; i < 1300; ++i) {
    Rng rng(3, Purpose::test, i);
    const std::span<const Symbol> w = windows.draw(rng).of(side.symbols);
    ASSERT_EQ(w.size(), 3u);
    EXPECT_EQ(w[2], w[0] + 2);
    ++counts[w[0]];
  }
  for (int first = 0; first < 20; ++first) {
    const bool possible = (first >= 2 && first <= 5) || (first >= 9 && first <= 17);
    EXPECT_EQ(counts[static_cast<size_t>(first)] > 0, possible) << first;
    EXPECT_NEAR(counts[static_cast<size_t>(first)], possible ? 100 : 0, 50) << first;
  }
}

}  // namespace
}  // namespace gradus::posttrain
