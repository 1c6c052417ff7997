// Rewards from a program of the user's: it reads one JSON object a line, one for each sample, and writes one line for
// each, in order. The format that users see is docs/data.md, an example examples/rewards/reward.py.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/posttrain/task.h"
#include "gradus/runtime/child_process.h"

namespace gradus::posttrain {

struct RewardProgramConfig {
  std::filesystem::path program = {};               // an executable file; relative to the working directory
  std::chrono::milliseconds batch_timeout{60'000};  // for all samples of one `judge` together
};

// The line (without its line end) that the program reads for a sample:
//   {"prompt": text, "answer": reference, "response": answer, "row": the user's row or null}
// A response that is not UTF-8 has its bad bytes replaced by U+FFFD.
std::string to_request(const Judged& sample);

// A reply is a number, or {"reward": number, "correct": bool, other numbers as components}; true and false count as 1
// and 0. Without "correct", a reward of at least 1 is correct. Throws corrupt, naming `program`, the line and what is
// expected, for anything else.
Reward parse_reply(std::string_view line, std::string_view program);

// One running program. A batch that fails is final: the program is stopped, and every later call fails too, so that no
// reply is ever taken for another sample's.
class RewardProgram {
 public:
  // Starts it. Throws not_found when there is no such file, invalid_argument when it cannot be run (no x bit, no #!
  // line).
  explicit RewardProgram(RewardProgramConfig config);

  // rewards[i] of samples[i]. Throws timeout at the deadline, peer_lost when the program ended, corrupt for a bad
  // reply. Threads take turns.
  std::vector<Reward> judge(std::span<const Judged> samples);

 private:
  RewardProgramConfig config_;
  std::string name_;  // as the user wrote it
  std::mutex mutex_;
  std::unique_ptr<runtime::ChildProcess> child_;  // null after a failure
};

// Any task, with a program's verdicts instead of its own. Calls of `judge` from several threads take turns.
class ProgramJudgedTask final : public Task {
 public:
  ProgramJudgedTask(std::shared_ptr<const Task> task, RewardProgramConfig config);

  Reward judge(const Problem& p, std::string_view answer) const override;
  std::vector<Reward> judge_all(std::span<const Judged> samples) const override { return program_->judge(samples); }

  Problem make(Rng& rng, int difficulty) const override { return task_->make(rng, difficulty); }
  Problem make_for_warm_up(Rng& rng, int difficulty) const override { return task_->make_for_warm_up(rng, difficulty); }
  std::string prompt(const Problem& p) const override { return task_->prompt(p); }
  std::vector<int32_t> encode_prompt(const Problem& p, const lm::Tokenizer& tokenizer) const override {
    return task_->encode_prompt(p, tokenizer);
  }
  std::vector<int32_t> encode_response(std::string_view response, const lm::Tokenizer& tokenizer) const override {
    return task_->encode_response(response, tokenizer);
  }
  std::string name() const override { return task_->name(); }
  std::string about() const override { return task_->about(); }
  std::pair<int, int> difficulties() const override { return task_->difficulties(); }
  std::string demonstration(const Problem& p, Rng& rng) const override { return task_->demonstration(p, rng); }
  bool has_demonstrations() const override { return task_->has_demonstrations(); }
  std::string alphabet() const override { return task_->alphabet(); }
  std::string end_of_text() const override { return task_->end_of_text(); }
  std::string style(std::string_view answer) const override { return task_->style(answer); }
  bool is_held_out(const Problem& p) const override { return task_->is_held_out(p); }
  std::vector<Problem> all_problems() const override { return task_->all_problems(); }

 private:
  std::shared_ptr<const Task> task_;
  std::unique_ptr<RewardProgram> program_;
};

}  // namespace gradus::posttrain
