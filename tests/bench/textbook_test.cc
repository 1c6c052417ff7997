#include "bench/textbook.h"

#include <gtest/gtest.h>

#include <map>

namespace gradus::bench {
namespace {

// All exact tables, and the sampled ones that take no time.
TEST(Textbook, ExactTablesAndPredictionsPass) {
  std::map<std::string, int> cells;
  const auto check = [&](const TextbookCell& c) {
    EXPECT_TRUE(c.passes()) << c.table << ", " << c.cell << ": " << c.book << " in the book, " << c.ours << " here";
    ++cells[c.table];
  };
  textbook_dynamic_programming({}, check);
  textbook_prediction({}, check);
  for (const char* table : {"Zhao 3.4a", "Zhao 3.4b", "Zhao 3.4c", "Zhao 3.4d", "Zhao 5.6b", "Zhao 5.6c", "Zhao 5.6d",
                            "Zhao 5.7b", "Zhao 5.7c", "Zhao 5.7d", "Zhao 8.6b", "Zhao 5.4, N = 30"}) {
    EXPECT_EQ(cells[table], 25) << table;
  }
}

TEST(Textbook, SampledControlPasses) {
  textbook_control({}, [&](const TextbookCell& c) {
    EXPECT_TRUE(c.passes()) << c.table << ", " << c.cell << ": " << c.book << " in the book, " << c.ours << " here";
  });
}

TEST(Textbook, ACellThatDiffersDoesNotPass) {
  TextbookCell cell{.table = "t", .about = "a", .cell = "c", .book = 1, .ours = 1.06, .allowed = 0.05};
  EXPECT_FALSE(cell.passes());
  cell.ours = 1.04;
  EXPECT_TRUE(cell.passes());
}

}  // namespace
}  // namespace gradus::bench
