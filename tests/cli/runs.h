// A training of about half a second, and what two runs must have in common to be the same run.
#pragma once

#include <string>
#include <vector>

#include "gradus/run/database.h"
#include "program.h"

namespace gradus::cli {

// "train chain ... --json --out DIRECTORY": a warm-up of more steps than one checkpoint has, then four iterations.
Words small_training(const std::string& directory, const Words& more = {});

// All of a run that does not depend on when it was made and how fast.
struct RunContent {
  std::vector<std::string> metrics;        // rows of run.sqlite
  std::vector<std::string> metrics_jsonl;  // lines
  std::vector<run::Rollout> rollouts;
  // The latest, and what `best` points to. (Where a run was interrupted, one more may be among those that are kept.)
  std::vector<std::string> checkpoints;
  std::string weights;  // bytes of the latest model.safetensors

  bool operator==(const RunContent&) const = default;
};
RunContent read_run(const std::string& directory);

// EXPECT_EQ, part by part, so that a failure does not print megabytes.
void expect_same_run(const RunContent& a, const RunContent& b);

}  // namespace gradus::cli
