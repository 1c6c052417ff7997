#include "runs.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/run/checkpoint.h"
#include "gradus/run/run_folder.h"

namespace gradus::cli {

namespace fs = std::filesystem;

namespace {

bool depends_on_time(const std::string& name) {
  return name == "elapsed_s" || name == "tokens_per_s";
}

}  // namespace

Words small_training(const std::string& directory, const Words& more) {
  Words words = {"train",
                 "chain",
                 "architecture.layers=1",
                 "architecture.width=32",
                 "architecture.heads=2",
                 "chain.max_operators=3",
                 "sft.tokens=32000",
                 "sft.sequences=8",
                 "sft.learning_rate=0.01",
                 "sft.first_max_difficulty=0",
                 "sft.min_difficulty=0",
                 "k15.iterations=4",
                 "k15.prompts=8",
                 "k15.samples=8",
                 "k15.minibatches=2",
                 "k15.max_tokens=24",
                 "eval.problems=32",
                 "eval.quick_problems=16",
                 "eval.every=2",
                 "threads=2",
                 "--json",
                 "--out",
                 directory};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

RunContent read_run(const std::string& directory) {
  const run::RunPaths paths{directory};
  RunContent content;
  run::Database database(paths.database(), run::Database::Mode::read);
  for (const run::Metric& m : database.metrics()) {
    if (!depends_on_time(m.name))
      content.metrics.push_back(fmt::format("{} {} {} {}", m.step, m.phase, m.name, m.value));
  }
  content.rollouts = database.rollouts();

  std::istringstream lines(read_file(paths.metrics_jsonl()));
  for (std::string line; std::getline(lines, line);) {
    auto row = parse_json(line, "metrics.jsonl");
    row.erase("elapsed_s");
    row.erase("tokens_per_s");
    content.metrics_jsonl.push_back(write_json(row));
  }

  const fs::path latest = run::latest_checkpoint(paths.checkpoints()).value();
  content.checkpoints = {latest.filename().string(),
                         "best -> " + fs::read_symlink(paths.checkpoints() / "best").string()};
  content.weights = read_file(latest / "model.safetensors");
  return content;
}

void expect_same_run(const RunContent& a, const RunContent& b) {
  EXPECT_EQ(a.metrics, b.metrics);
  EXPECT_EQ(a.metrics_jsonl, b.metrics_jsonl);
  EXPECT_TRUE(a.rollouts == b.rollouts) << a.rollouts.size() << " and " << b.rollouts.size() << " rollouts";
  EXPECT_EQ(a.checkpoints, b.checkpoints);
  EXPECT_TRUE(a.weights == b.weights) << "the final weights differ";
}

}  // namespace gradus::cli
