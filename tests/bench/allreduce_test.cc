// `gradus bench allreduce` over threads and on the virtual clock: what its rows say besides times.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "bench/bench.h"
#include "bench/collective_values.h"
#include "bench/collectives.h"
#include "gradus/comm/algorithms.h"
#include "gradus/comm/thread_transport.h"
#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "tests/core/temporary_folder.h"

namespace gradus::bench {
namespace {

using comm::Operation;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Value at(const Row& row, std::string_view key) {
  const auto found = std::ranges::find(row, key, &Row::value_type::first);
  return found == row.end() ? Value(std::string("no such column")) : found->second;
}
std::string text_at(const Row& row, std::string_view key) {
  return std::get<std::string>(at(row, key));
}
int64_t number_at(const Row& row, std::string_view key) {
  return std::get<int64_t>(at(row, key));
}

std::vector<Row> rows_of(const AllreduceOptions& options) {
  std::vector<Row> rows;
  allreduce(options, [&](const Row& row) { rows.push_back(row); });
  return rows;
}

std::string refusal(const AllreduceOptions& options) {
  try {
    rows_of(options);
  } catch (const Error& e) {
    return std::string(name(e.code())) + ": " + e.what();
  }
  return "";
}

TEST(Sizes, AreNumbersWithUnitsOrRangesThatDouble) {
  EXPECT_THAT(parse_sizes("12"), ElementsAre(12));
  EXPECT_THAT(parse_sizes("64KiB"), ElementsAre(65536));
  EXPECT_THAT(parse_sizes("2GiB"), ElementsAre(int64_t{2} << 30));
  EXPECT_THAT(parse_sizes("8..48"), ElementsAre(8, 16, 32, 48));
  EXPECT_THAT(parse_sizes("1KiB..4KiB"), ElementsAre(1024, 2048, 4096));
  for (const char* bad :
       {"", "KiB", "-1", "1kb", "8..", "..8", "0..8", "16..8", "5GiB", "99999999999999999999", "1.5"}) {
    EXPECT_THROW(parse_sizes(bad), Error) << bad;
  }
}

TEST(BusFactor, IsThatOfNcclTests) {
  EXPECT_EQ(bus_factor(Operation::all_reduce, 4), 1.5);
  EXPECT_EQ(bus_factor(Operation::reduce_scatter, 4), 0.75);
  EXPECT_EQ(bus_factor(Operation::all_gather, 4), 0.75);
  EXPECT_EQ(bus_factor(Operation::all_to_all, 4), 0.75);
  EXPECT_EQ(bus_factor(Operation::broadcast, 4), 1);
}

TEST(CountWrong, SeesOneElement) {
  const CollectiveKind kind{.dtype = DType::i32, .ranks = 3};
  std::vector<int32_t> x(70'000), sum(x.size());
  for (int r = 0; r < kind.ranks; ++r) {
    fill_input(kind, r, 0, static_cast<int64_t>(x.size()), reinterpret_cast<std::byte*>(x.data()));
    for (size_t i = 0; i < x.size(); ++i) sum[i] += x[i];
  }
  const auto wrong = [&] {
    return count_wrong(kind, 1, reinterpret_cast<const std::byte*>(sum.data()), static_cast<int64_t>(sum.size()));
  };
  EXPECT_EQ(wrong(), 0);
  ++sum[69'999];
  EXPECT_EQ(wrong(), 1);
}

TEST(Allreduce, EveryAlgorithmOfEveryOperationComputesWhatItMust) {
  for (const Operation operation : {Operation::all_reduce, Operation::reduce_scatter, Operation::all_gather,
                                    Operation::broadcast, Operation::gather, Operation::all_to_all}) {
    const AllreduceOptions options{.operation = operation, .ranks = 3, .bytes = {0, 4, 4000}, .rounds = 1};
    for (const Row& row : rows_of(options)) {
      EXPECT_EQ(number_at(row, "wrong"), 0) << text_at(row, "operation") << " " << text_at(row, "algorithm");
    }
  }
}

TEST(Allreduce, EveryTypeAndReductionIsChecked) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8}) {
    for (const auto op : {kernels::ReduceOp::sum, kernels::ReduceOp::mean, kernels::ReduceOp::min,
                          kernels::ReduceOp::max, kernels::ReduceOp::prod}) {
      AllreduceOptions options{.algorithm = "ring", .op = op, .dtype = dtype, .ranks = 2, .bytes = {808}, .rounds = 1};
      for (const Row& row : rows_of(options)) {
        EXPECT_EQ(number_at(row, "wrong"), 0) << name(dtype) << " " << kernels::name(op);
      }
    }
  }
}

TEST(Allreduce, ColumnsAreThoseOfNcclTestsThenOurs) {
  const std::vector<Row> rows = rows_of({.algorithm = "ring", .ranks = 4, .bytes = {4096}, .rounds = 1});
  ASSERT_EQ(rows.size(), 1u);
  std::vector<std::string> keys;
  for (const auto& [key, value] : rows[0]) keys.push_back(key);
  keys.resize(9);
  EXPECT_THAT(keys, ElementsAre("transport", "algorithm", "ranks", "dtype", "bytes", "time_us", "algbw_gb_s",
                                "busbw_gb_s", "wrong"));
  EXPECT_EQ(number_at(rows[0], "sent_bytes"), 4096 * 2 * 3 / 4);
}

TEST(Allreduce, AutoNamesWhatTheTableTakes) {
  const std::vector<Row> rows =
      rows_of({.algorithm = "auto", .operation = Operation::gather, .ranks = 3, .bytes = {64}, .rounds = 1});
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(text_at(rows[0], "algorithm"), "linear");
}

TEST(Allreduce, RefusesWhatCannotBe) {
  EXPECT_THAT(refusal({.algorithm = "rinq", .bytes = {8}, .rounds = 1}),
              ::testing::AllOf(HasSubstr("invalid_argument"), HasSubstr("no algorithm rinq"), HasSubstr("pairwise")));
  EXPECT_THAT(refusal({.algorithm = "rabenseifner", .ranks = 3, .bytes = {8}, .rounds = 1}),
              HasSubstr("has no algorithm rabenseifner"));
  EXPECT_THAT(refusal({.ranks = 65, .bytes = {8}}), HasSubstr("65 ranks are not from 1 to 64"));
  EXPECT_THAT(refusal({.transport = "pigeons", .bytes = {8}}), HasSubstr("there is no transport pigeons"));
  EXPECT_THAT(refusal({.bytes = {-8}}), HasSubstr("-8 bytes"));
}

TEST(Tune, WritesATableThatSelectionReads) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "table.json";
  allreduce_tune({.ranks = 3, .bytes = {64, 4096}, .rounds = 1}, file, [](const Row&) {});
  const std::vector<comm::Rule> rules = comm::parse_rules(read_file(file), file.string());
  for (const Operation operation : {Operation::all_reduce, Operation::all_to_all}) {
    EXPECT_TRUE(std::ranges::any_of(rules, [&](const comm::Rule& r) {
      return r.operation == operation && r.transport == "threads" && r.ranks == 3 && r.most_bytes == INT64_MAX;
    }));
  }
}

TEST(Simulate, RowsAreMarkedAndCoverRanksThatAreNotHere) {
  std::vector<Row> rows;
  allreduce_simulate({.measured = {.bytes = {65536}}, .ranks = {2, 12, 64}, .ranks_per_host = 4},
                     [&](const Row& row) { rows.push_back(row); });
  std::vector<std::string> seen;
  for (const Row& row : rows) {
    EXPECT_EQ(std::get<bool>(at(row, "simulated")), true);
    if (std::holds_alternative<int64_t>(at(row, "ranks")) && number_at(row, "ranks") == 12) {
      seen.push_back(text_at(row, "algorithm"));
    }
  }
  EXPECT_THAT(seen, ElementsAre("ring", "pairwise", "doubling", "hierarchical", "parameter-server"));
}

TEST(Validate, ComparesEachAlgorithmThatIsMadeOfExchanges) {
  std::vector<std::string> seen;
  allreduce_validate({.measured = {.bytes = {65536}, .rounds = 1}}, [&](const Row& row) {
    if (std::holds_alternative<double>(at(row, "error"))) seen.push_back(text_at(row, "algorithm"));
  });
  EXPECT_THAT(seen, ElementsAre("ring", "pairwise", "doubling", "rabenseifner", "parameter-server"));
}

TEST(Validate, OfManyRanksMeasuresTheModelOnTwo) {
  std::vector<int64_t> ranks;
  allreduce_validate({.measured = {.algorithm = "ring", .ranks = 3, .bytes = {8, 4096}, .rounds = 1}},
                     [&](const Row& row) { ranks.push_back(number_at(row, "ranks")); });
  EXPECT_THAT(ranks, ElementsAre(3, 3));
}

TEST(Job, ItsFirstRankHasTheRows) {
  const comm::ThreadWorld world(2);
  std::vector<int64_t> rows(2);
  const auto rank = [&](int r) {
    comm::Group job(world.transport(r));
    const AllreduceOptions options{.algorithm = "ring", .ranks = 2, .bytes = {64}, .rounds = 1, .job = &job};
    EXPECT_TRUE(allreduce(options, [&](const Row& row) {
      EXPECT_EQ(number_at(row, "wrong"), 0);
      ++rows[static_cast<size_t>(r)];
    }));
    AllreduceOptions wrong = options;
    wrong.ranks = 3;
    EXPECT_THAT(refusal(wrong), HasSubstr("3 ranks were asked for, but the job has 2"));
  };
  std::thread other([&] { rank(1); });
  rank(0);
  other.join();
  EXPECT_THAT(rows, ElementsAre(1, 0));
}

TEST(Trace, TheRingOnFourRanksIsTheTextbooksPicture) {
  for (const bool simulated : {false, true}) {
    std::vector<std::vector<std::string>> steps;
    allreduce_trace({.algorithm = "ring", .ranks = 4}, simulated, [&](const Row& row) {
      if (row[0].first != "step") {
        EXPECT_EQ(number_at(row, "bytes_sent"), 2 * 3 * 16);
        return;
      }
      steps.emplace_back();
      for (size_t i = 1; i < row.size(); ++i) steps.back().push_back(std::get<std::string>(row[i].second));
    });
    ASSERT_EQ(steps.size(), 6u);
    EXPECT_THAT(steps[0], ElementsAre("slice 3 to 1, added", "slice 0 to 2, added", "slice 1 to 3, added",
                                      "slice 2 to 0, added"));
    EXPECT_THAT(steps[3], ElementsAre("slice 0 to 1, copied", "slice 1 to 2, copied", "slice 2 to 3, copied",
                                      "slice 3 to 0, copied"));
  }
}

TEST(Trace, RabenseifnerSendsHalvesThenQuarters) {
  std::vector<std::string> first;
  allreduce_trace({.algorithm = "rabenseifner", .ranks = 4}, true, [&](const Row& row) {
    if (row[0].first == "step") first.push_back(std::get<std::string>(row[1].second));
  });
  EXPECT_THAT(first, ElementsAre("slices 2-3 to 1, added", "slice 1 to 2, added", "slice 0 to 2, copied",
                                 "slices 0-1 to 1, copied"));
}

}  // namespace
}  // namespace gradus::bench
