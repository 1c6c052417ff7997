// The task `jsonl`: the user's own problems, one JSON object a line (docs/data.md). The model sees a row's prompt and a
// prompt end; its answer is the text after the last answer mark, right if it equals the row's answer as text or number.
#pragma once

#include <optional>

#include "gradus/lm/chat_template.h"
#include "gradus/posttrain/dataset.h"
#include "gradus/posttrain/task.h"

namespace gradus::posttrain {

struct JsonlConfig {
  DatasetConfig data = {};
  std::string prompt_end = "\n";  // added to a prompt that does not end in it: here the model's turn begins
  std::string answer_mark = "=";  // "": the whole response is the answer
  // A program judges (reward_program.h): rows need no answer, and responses are taken as they are.
  bool judged_by_program = false;
  // Prompts are what a user says: they, and chats, are put into this template. Rows of chats need it.
  std::optional<lm::ChatTemplate> chat = {};
};

class Jsonl final : public Task {
 public:
  // Reads and checks the whole file, so that no row fails later. A response without the answer mark gets the mark and
  // the answer at its end. Throws what read_dataset throws; corrupt, naming file:line, for a response whose own answer
  // is wrong and for an answer that contains the answer mark.
  explicit Jsonl(JsonlConfig config);

  std::string name() const override { return "jsonl"; }
  std::string about() const override { return data_.mapping(); }
  std::string alphabet() const override;                        // sorted by bytes
  std::string end_of_text() const override { return "<eos>"; }  // "$" may be part of the user's text

  Problem make(Rng& rng, int difficulty) const override;              // any row, all equally likely
  Problem make_for_warm_up(Rng& rng, int difficulty) const override;  // a training row with a response
  std::vector<Problem> all_problems() const override { return data_.problems; }
  bool is_held_out(const Problem& p) const override;
  bool has_demonstrations() const override { return !demonstrated_.empty(); }

  std::string prompt(const Problem& p) const override;
  std::vector<int32_t> encode_prompt(const Problem& p, const lm::Tokenizer& tokenizer) const override;
  std::vector<int32_t> encode_response(std::string_view response, const lm::Tokenizer& tokenizer) const override;
  std::string demonstration(const Problem& p, Rng& rng) const override;
  Reward judge(const Problem& p, std::string_view answer) const override;  // wrong without the answer mark

 private:
  JsonlConfig config_;
  Dataset data_;
  std::set<uint64_t> held_out_;       // hashes
  std::vector<size_t> demonstrated_;  // training rows that have a response
};

}  // namespace gradus::posttrain
