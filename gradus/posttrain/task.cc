#include "gradus/posttrain/task.h"

#include <algorithm>
#include <unordered_set>

#include "gradus/core/error.h"
#include "gradus/lm/tokenizer/utf8.h"
#include "gradus/posttrain/content_hash.h"

namespace gradus::posttrain {
namespace {

constexpr int kMaxDraws = 1024;        // 15 of 16 problems are training ones, 1 is held out: (15/16)^1024 = 2e-29
constexpr int kMaxMissesInARow = 256;  // then the held-out problems of a small task are taken to be used up

template <class Make>
Problem draw_training(const Task& task, int difficulty, Make&& make) {
  for (int draw = 0; draw < kMaxDraws; ++draw) {
    Problem p = make();
    if (!task.is_held_out(p)) return p;
  }
  fail(ErrorCode::exhausted,
       "{}: no training problem in {} draws of difficulty {}, all were held out; use another difficulty", task.name(),
       kMaxDraws, difficulty);
}

// Fisher and Yates; std::shuffle draws differently from one standard library to the next.
void shuffle(std::vector<Problem>& problems, Rng rng) {
  for (size_t i = problems.size(); i > 1; --i) {
    std::swap(problems[i - 1], problems[static_cast<size_t>(rng.below(static_cast<int64_t>(i)))]);
  }
}

}  // namespace

uint64_t Problem::hash() const {
  return content_hash(text);
}

std::string Task::demonstration(const Problem& p, Rng&) const {
  return p.demonstration.empty() ? "=" + p.answer : p.demonstration;
}

std::vector<Reward> Task::judge_all(std::span<const Judged> samples) const {
  std::vector<Reward> rewards;
  rewards.reserve(samples.size());
  for (const Judged& s : samples) rewards.push_back(judge(*s.problem, s.answer));
  return rewards;
}

void add_characters(std::string_view text, CharacterSet& characters) {
  while (!text.empty()) {
    const int n_bytes = lm::decode_utf8(text).n_bytes;
    require(n_bytes > 0, "alphabet: a text of the task is not UTF-8; use UTF-8 everywhere");
    const std::string_view character = text.substr(0, static_cast<size_t>(n_bytes));
    if (!characters.contains(character)) characters.emplace(character);
    text.remove_prefix(character.size());
  }
}

std::string to_alphabet(const CharacterSet& characters) {
  std::string alphabet;
  for (const std::string& c : characters) alphabet += c;
  return alphabet;
}

std::string Task::alphabet() const {
  CharacterSet found;
  const auto [least, greatest] = difficulties();
  for (int difficulty = least; difficulty <= greatest; ++difficulty) {
    for (uint64_t i = 0; i < 256; ++i) {
      Rng rng(0, Purpose::data, i);
      const Problem p = make(rng, difficulty);
      add_characters(prompt(p), found);
      add_characters(demonstration(p, rng), found);
    }
  }
  return to_alphabet(found);
}

Problem make_training_problem(const Task& task, Rng& rng, int difficulty) {
  return draw_training(task, difficulty, [&] { return task.make(rng, difficulty); });
}

Problem make_warm_up_problem(const Task& task, Rng& rng, int difficulty) {
  return draw_training(task, difficulty, [&] { return task.make_for_warm_up(rng, difficulty); });
}

std::vector<Problem> held_out_set(const Task& task, const HeldOutConfig& config) {
  const int least = config.least_difficulty, greatest = config.greatest_difficulty;
  require(config.n >= 1, "held-out set: n is {}; at least 1 is needed", config.n);
  require(least <= greatest, "held-out set: difficulties {}..{} are no range; put the smaller one first", least,
          greatest);

  std::vector<Problem> set;
  std::unordered_set<std::string> seen;
  const auto take = [&](Problem p) {
    if (p.difficulty < least || p.difficulty > greatest || !task.is_held_out(p) || !seen.insert(p.text).second)
      return false;
    set.push_back(std::move(p));
    return true;
  };

  std::vector<Problem> listed = task.all_problems();
  const auto n = static_cast<size_t>(config.n);
  if (!listed.empty()) {
    shuffle(listed, Rng(config.seed, Purpose::held_out));
    for (Problem& p : listed) {
      if (set.size() < n) take(std::move(p));
    }
  } else {
    const int n_difficulties = greatest - least + 1;
    int misses = 0;
    for (uint64_t index = 0; set.size() < n && misses < kMaxMissesInARow * n_difficulties; ++index) {
      Rng rng(config.seed, Purpose::held_out, index);
      const int difficulty = least + static_cast<int>(index % static_cast<uint64_t>(n_difficulties));
      bool taken = false;
      for (int draw = 0; draw < kMaxDraws && !taken; ++draw) {
        Problem p = task.make(rng, difficulty);
        if (!task.is_held_out(p)) continue;
        taken = take(std::move(p));
        break;  // a duplicate: the next index draws anew
      }
      misses = taken ? 0 : misses + 1;
    }
  }
  if (set.empty()) {
    fail(ErrorCode::exhausted, "{}: no held-out problem of difficulty {}..{}; widen the range", task.name(), least,
         greatest);
  }
  return set;
}

void check_can_start(const Task& task, bool has_model) {
  require(has_model || task.has_demonstrations(),
          "no demonstrations and no model: the reward would stay 0; add `response` or `model=`");
}

}  // namespace gradus::posttrain
