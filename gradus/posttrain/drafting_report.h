// What a model's Medusa heads are worth on this machine: held-out text continued with drafts and without, in turns.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "gradus/lm/model.h"
#include "gradus/posttrain/text.h"

namespace gradus::posttrain {

struct DraftingReport {
  struct Row {
    double temperature = 0;
    int64_t tokens = 0;             // of each way
    double plain_tokens_per_s = 0;  // one text at a time
    double drafted_tokens_per_s = 0;
    double tokens_per_step = 0;  // with drafts
    bool same_text = false;      // to the bit, log-probabilities included

    double speed_up() const { return drafted_tokens_per_s / plain_tokens_per_s; }
  };
  std::vector<Row> rows = {};
};

struct DraftingReportConfig {
  std::vector<double> temperatures = {0.0, 1.0};
  int64_t prompts = 4;
  int64_t prompt_tokens = 64;
  int64_t max_tokens = 160;
  uint64_t seed = 1;
};

// The model has heads. Throws interrupted when asked to stop.
DraftingReport report_drafting(lm::Model& model, const Text& text, const DraftingReportConfig& config = {},
                               const std::function<bool()>& should_stop = {});

}  // namespace gradus::posttrain
