// A task: make a problem, show it, judge an answer. A new task is one small class in one file that overrides `make`,
// `prompt` and `judge`; the rest has defaults. Here too: the split that keeps held-out problems out of training.
// Not here: how difficulties are chosen (curriculum.h), how answers are sampled.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/lm/tokenizer/tokenizer.h"

namespace gradus::posttrain {

struct Problem {
  std::string text;           // what is asked; names the problem, so equal texts are the same problem
  std::string answer;         // the reference answer
  std::string demonstration;  // a worked response to imitate in the warm-up; "" when there is none
  int difficulty = 0;
  std::string row;         // the user's own row as JSON, for reward programs; "" when there is none
  std::string messages{};  // of a chat: the list of messages before the response, as JSON; then `text` is the same
  std::string place{};     // where it stands, for errors: "data.jsonl:3"; "" when it was made up

  // content_hash(text).
  uint64_t hash() const;
};

struct Reward {
  double value = 0.0;
  bool correct = false;                                    // what accuracies count
  std::vector<std::pair<std::string, double>> components;  // named parts, for the record only; usually empty
};

// One answer to be judged. Both views must outlive the call.
struct Judged {
  const Problem* problem = nullptr;
  std::string_view answer;  // the decoded response without the end-of-text token
};

// A task holds no state that changes: every function is const, and two threads may call it at the same time.
class Task {
 public:
  // So that a task outside this namespace names them without a qualifier.
  using Problem = posttrain::Problem;
  using Reward = posttrain::Reward;

  virtual ~Task() = default;

  // A problem of this difficulty, drawn from `rng` alone.
  virtual Problem make(Rng& rng, int difficulty) const = 0;

  // The text that the model continues. Ends in something that tells the model that its turn begins.
  virtual std::string prompt(const Problem& p) const = 0;

  // The same as tokens, and those of a response to imitate, without the end-of-text token.
  virtual std::vector<int32_t> encode_prompt(const Problem& p, const lm::Tokenizer& tokenizer) const {
    return tokenizer.encode(prompt(p));
  }
  virtual std::vector<int32_t> encode_response(std::string_view response, const lm::Tokenizer& tokenizer) const {
    return tokenizer.encode(response);
  }

  // The reward of one response.
  virtual Reward judge(const Problem& p, std::string_view answer) const = 0;

  virtual std::string name() const { return "task"; }

  // One line for the user on what the problems were read from; "" when there is nothing to say.
  virtual std::string about() const { return ""; }

  // Least and greatest difficulty, both included; 1 <= first <= second.
  virtual std::pair<int, int> difficulties() const { return {1, 1}; }

  // A response to imitate, without the end-of-text token: p.demonstration, or "=" and the answer when that is empty.
  virtual std::string demonstration(const Problem& p, Rng& rng) const;

  // False when there is nothing to imitate, so that training has to start from a model (`check_can_start`).
  virtual bool has_demonstrations() const { return true; }

  // Like `make`, but only problems that have a demonstration.
  virtual Problem make_for_warm_up(Rng& rng, int difficulty) const { return make(rng, difficulty); }

  // rewards[i] of samples[i], in order.
  virtual std::vector<Reward> judge_all(std::span<const Judged> samples) const;

  // For a character tokenizer: every character (UTF-8) of prompts and responses, each once, without the end-of-text
  // token. Default: what 256 problems of each difficulty and their demonstrations show, so a task with rare characters
  // overrides it.
  virtual std::string alphabet() const;

  // The text of its end-of-text token, which stands in no prompt and no response.
  virtual std::string end_of_text() const { return "$"; }

  // What the final table groups answers by: "long", "short", or "" for a task without styles.
  virtual std::string style(std::string_view) const { return ""; }

  // Held-out problems are never trained on. Default: hash % 16 == 0.
  virtual bool is_held_out(const Problem& p) const { return p.hash() % 16 == 0; }

  // A task over a finite list returns it whole; a generator returns nothing.
  virtual std::vector<Problem> all_problems() const { return {}; }
};

// A problem that is not held out. Draws from `rng` until one is found; throws exhausted after 1024 draws.
Problem make_training_problem(const Task& task, Rng& rng, int difficulty);

// The same among the problems that have a demonstration.
Problem make_warm_up_problem(const Task& task, Rng& rng, int difficulty);

// At most n held-out problems with different texts, the difficulties of [least, greatest] taken in turn; fewer when the
// task has no more of them. A finite task gives its own in a shuffled order. A smaller n gives a prefix. Throws
// exhausted when there is none, invalid_argument on n < 1 or a bad range.
struct HeldOutConfig {
  int n = 512;
  int least_difficulty = 1;
  int greatest_difficulty = 1;
  uint64_t seed = 0;
};
std::vector<Problem> held_out_set(const Task& task, const HeldOutConfig& config);

// Throws invalid_argument when there is neither a demonstration to imitate nor a model to start from.
void check_can_start(const Task& task, bool has_model);

// The characters of `text`, added to a set; throws invalid_argument when it is not UTF-8. An alphabet is such a set in
// one string, sorted by bytes.
using CharacterSet = std::set<std::string, std::less<>>;
void add_characters(std::string_view text, CharacterSet& characters);
std::string to_alphabet(const CharacterSet& characters);

}  // namespace gradus::posttrain
