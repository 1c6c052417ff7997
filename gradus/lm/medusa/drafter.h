// Drafts from Medusa heads and from the text's own repetitions: static trees as the paper has them, chains, or for each
// step the tree that pays most by what guesses were worth so far and what rows cost on this machine.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/lm/draft_chances.h"
#include "gradus/lm/medusa/heads.h"
#include "gradus/lm/step_times.h"
#include "gradus/lm/tree_planner.h"

namespace gradus::lm {

// Paths of ranks: {1, 0} is the likeliest guess of head 1 below the second likeliest of head 0.
using MedusaChoices = std::vector<std::vector<int32_t>>;

// Every path of the Cartesian product: `widths[k]` guesses of head k below each of the depth before (section 2.1.2).
MedusaChoices cartesian_choices(std::span<const int64_t> widths);
// One path: the likeliest guess of each head.
MedusaChoices chain_choices(int64_t heads);
// From a list of lists of ranks, as in the reference's `medusa_choices`, sorted by length and then by ranks. Throws
// corrupt where it is none, a path's beginning is missing, or a path is twice there.
MedusaChoices parse_choices(std::string_view json, std::string_view origin);

struct DraftingConfig {
  enum class Shape { dynamic, fixed };  // fixed: `choices`, every step
  Shape shape = Shape::dynamic;
  MedusaChoices choices = {};
  bool repetitions = true;        // guess from the text, too; dynamic shapes only
  int64_t most_nodes = 64;        // of a step, over all texts
  int64_t guesses_per_head = 10;  // the reference's TOPK
  int64_t longest_copy = 16;      // tokens that a repetition drafts
  // Milliseconds of a pass by its rows (cost_curve.h), for dynamic shapes. Empty: as if up to 16 rows took the time of
  // one, and more in proportion.
  StepCost cost = {};
  bool learns_cost = false;  // `cost` is corrected by what steps take, and heads are weighed with what they take
};

class MedusaDrafter final : public Drafter {
 public:
  // `guesser` outlives the object; null: repetitions alone. Throws invalid_argument when choices go deeper than heads.
  MedusaDrafter(MedusaGuesser* guesser, int64_t heads, const DraftingConfig& config);

  void propose(const Tensor& hidden, std::span<const DraftContext> contexts, int64_t rows,
               std::span<DraftTree> trees) override;
  void observe(uint64_t sequence, const DraftTree& tree, std::span<const int32_t> accepted, bool went_on) override;
  void observe_step(int64_t rows, int64_t drafts, double ms) override;

 private:
  // What became of the guesses of each source: heads 0, 1, ...; then copies by the length of the repetition.
  static constexpr int32_t kCopyLengths = 4;
  DraftChances& chances(int32_t source) { return chances_[static_cast<size_t>(source)]; }
  int32_t copy_source(int64_t repeated) const;
  // [texts][heads] lists of candidates.
  std::vector<std::vector<Candidate>> guess(const Tensor& hidden, std::span<const DraftContext> contexts);
  Guess guess(int32_t token, int32_t source, double confidence);

  void propose_fixed(const Tensor& hidden, std::span<const DraftContext> contexts, std::span<DraftTree> trees);
  void propose_dynamic(const Tensor& hidden, std::span<const DraftContext> contexts, int64_t rows,
                       std::span<DraftTree> trees);
  double best_chance_of_copies();
  void add_copy(const DraftContext& context, TextGuesses& guesses);
  void add_heads(std::span<const std::vector<Candidate>> heads, TextGuesses& guesses);
  void weigh_heads(double saved, double plain_ms);

  MedusaGuesser* guesser_;
  int64_t n_heads_;
  DraftingConfig config_;
  StepTimes times_;
  int64_t drafted_in_turn_ = 0;
  std::vector<DraftChances> chances_;
  std::map<uint64_t, std::vector<Guess>> guesses_of_;  // [sequence][node] of the last step's trees
  // Heads that do not pay on average are not asked for some steps, and then for twice as many.
  double heads_ms_ = 0;       // what asking them takes
  double heads_save_ = 0.25;  // of a plain step's time, each time they are asked, on average
  int64_t pause_ = 0, next_pause_ = 0;
};

}  // namespace gradus::lm
