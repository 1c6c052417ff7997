#include "gradus/lm/medusa/drafter.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "gradus/core/json.h"
#include "gradus/kernels/embedding.h"
#include "gradus/lm/repetition.h"

namespace gradus::lm {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kShortestRepetition = 2, kLongestRepetition = 16;
constexpr double kConfidenceOfCopies = 0.5;  // what is known is how often copies of such lengths were right
constexpr size_t kRemembered = 4096;         // tokens of a text's end in which a repetition is looked for
constexpr double kLeastGain = 1.03;  // the gain below which nothing is drafted, since costs are never known that well
// Below this gain a step now and then goes without drafts, to see what it takes then.
constexpr double kSureGain = 2;
constexpr int64_t kMostInTurn = 24;
constexpr int64_t kLongestPause = 64;
constexpr size_t kMostChoices = 255;  // kernels::kMaxTreeNodes, node 0 included

// Half of a core's rows at the weights' pace (research: 8 to 16 rows are about free).
double assumed_cost(int64_t rows) {
  return static_cast<double>(std::max<int64_t>(rows, 16));
}

void sort_choices(MedusaChoices& choices) {
  std::ranges::sort(choices,
                    [](const auto& a, const auto& b) { return a.size() != b.size() ? a.size() < b.size() : a < b; });
}

}  // namespace

MedusaChoices cartesian_choices(std::span<const int64_t> widths) {
  MedusaChoices all, last = {{}};
  for (const int64_t width : widths) {
    MedusaChoices next;
    for (const std::vector<int32_t>& path : last) {
      for (int64_t rank = 0; rank < width; ++rank) {
        next.push_back(path);
        next.back().push_back(static_cast<int32_t>(rank));
        require(all.size() + next.size() <= kMostChoices, "medusa: a tree of more than {} nodes; take fewer guesses",
                kMostChoices);
      }
    }
    all.insert(all.end(), next.begin(), next.end());
    last = std::move(next);
  }
  return all;
}

MedusaChoices chain_choices(int64_t heads) {
  return cartesian_choices(std::vector<int64_t>(static_cast<size_t>(heads), 1));
}

MedusaChoices parse_choices(std::string_view json, std::string_view origin) {
  const nlohmann::json list = parse_json(json, origin);
  MedusaChoices choices;
  const auto bad = [&](const std::string& what) { fail(ErrorCode::corrupt, "{}: {}", origin, what); };
  if (!list.is_array()) bad("choices are a list of lists of ranks, like [[0], [0, 0], [1]]");
  for (const auto& path : list) {
    if (!path.is_array() || path.empty()) bad(fmt::format("{} is no list of ranks", path.dump()));
    std::vector<int32_t>& ranks = choices.emplace_back();
    for (const auto& rank : path) {
      if (!rank.is_number_integer() || rank < 0 || rank > 255)
        bad(fmt::format("{} is no rank of a guess", rank.dump()));
      ranks.push_back(rank.get<int32_t>());
    }
  }
  if (choices.size() > kMostChoices) bad(fmt::format("{} nodes are more than {}", choices.size(), kMostChoices));
  sort_choices(choices);
  std::set<std::vector<int32_t>> known;
  for (const std::vector<int32_t>& path : choices) {
    const std::vector<int32_t> before(path.begin(), path.end() - 1);
    if (!before.empty() && !known.contains(before))
      bad(fmt::format("the path [{}] has no node above it", fmt::join(path, ", ")));
    if (!known.insert(path).second) bad(fmt::format("the path [{}] is there twice", fmt::join(path, ", ")));
  }
  return choices;
}

MedusaDrafter::MedusaDrafter(MedusaGuesser* guesser, int64_t heads, const DraftingConfig& config)
    : guesser_(guesser),
      n_heads_(guesser != nullptr ? heads : 0),
      config_(config),
      times_(config.cost ? config.cost : assumed_cost) {
  chances_.resize(static_cast<size_t>(n_heads_ + kCopyLengths));
  require(config_.most_nodes >= 0 && config_.guesses_per_head >= 1, "medusa: {} nodes of {} guesses are no tree",
          config_.most_nodes, config_.guesses_per_head);
  sort_choices(config_.choices);
  for (const std::vector<int32_t>& path : config_.choices) {
    require(static_cast<int64_t>(path.size()) <= n_heads_,
            "medusa: a path of the tree is {} deep, but there are {} heads; take a shallower tree, or train more heads",
            path.size(), n_heads_);
    for (const int32_t rank : path) config_.guesses_per_head = std::max<int64_t>(config_.guesses_per_head, rank + 1);
  }
}

int32_t MedusaDrafter::copy_source(int64_t repeated) const {
  const int32_t length = repeated < 3 ? 0 : repeated < 5 ? 1 : repeated < 9 ? 2 : 3;
  return static_cast<int32_t>(n_heads_) + length;
}

Guess MedusaDrafter::guess(int32_t token, int32_t source, double confidence) {
  return {.token = token, .chance = chances(source).chance(confidence), .source = source, .confidence = confidence};
}

void MedusaDrafter::propose(const Tensor& hidden, std::span<const DraftContext> contexts, int64_t rows,
                            std::span<DraftTree> trees) {
  guesses_of_.clear();
  if (config_.shape == DraftingConfig::Shape::fixed) return propose_fixed(hidden, contexts, trees);
  propose_dynamic(hidden, contexts, rows, trees);
}

std::vector<std::vector<Candidate>> MedusaDrafter::guess(const Tensor& hidden, std::span<const DraftContext> contexts) {
  const auto start = Clock::now();
  std::vector<int32_t> rows, drawn;
  for (const DraftContext& c : contexts) rows.push_back(c.hidden_row), drawn.push_back(c.text.back());
  Tensor drawn_from = Tensor::empty({std::ssize(contexts), hidden.dim(1)}, hidden.dtype());
  kernels::embedding(rows, hidden, drawn_from);
  std::vector<std::vector<Candidate>> guesses = guesser_->guess(drawn_from, drawn, config_.guesses_per_head);
  if (config_.learns_cost) {
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    heads_ms_ = heads_ms_ == 0 ? ms : std::min(heads_ms_ + (ms - heads_ms_) / 8, 2 * heads_ms_);
  }
  return guesses;
}

void MedusaDrafter::propose_fixed(const Tensor& hidden, std::span<const DraftContext> contexts,
                                  std::span<DraftTree> trees) {
  if (guesser_ == nullptr || config_.choices.empty()) return;
  const std::vector<std::vector<Candidate>> guesses = guess(hidden, contexts);
  for (size_t i = 0; i < trees.size(); ++i) {
    std::map<std::vector<int32_t>, int32_t> nodes = {{{}, 0}};
    for (const std::vector<int32_t>& path : config_.choices) {
      const auto depth = static_cast<int64_t>(path.size());
      const std::vector<Candidate>& of_head = guesses[i * static_cast<size_t>(n_heads_) + path.size() - 1];
      if (depth > contexts[i].deepest || path.back() >= std::ssize(of_head)) continue;
      const auto above = nodes.find({path.begin(), path.end() - 1});
      if (above == nodes.end()) continue;
      nodes[path] = trees[i].add(of_head[static_cast<size_t>(path.back())].token, above->second);
    }
  }
}

void MedusaDrafter::add_copy(const DraftContext& context, TextGuesses& guesses) {
  const std::span<const int32_t> text = context.text.last(std::min(context.text.size(), kRemembered));
  const Repetition r = find_repetition(text, kShortestRepetition, kLongestRepetition, config_.longest_copy);
  if (r.length == 0) return;
  const int32_t source = copy_source(r.length);
  for (const int32_t token : r.continuation) guesses.path.push_back(guess(token, source, kConfidenceOfCopies));
}

double MedusaDrafter::best_chance_of_copies() {
  double best = 0;
  for (int32_t length = 0; length < kCopyLengths; ++length)
    best = std::max(best, chances(static_cast<int32_t>(n_heads_) + length).chance(kConfidenceOfCopies));
  return best;
}

void MedusaDrafter::add_heads(std::span<const std::vector<Candidate>> heads, TextGuesses& guesses) {
  for (int32_t k = 0; k < n_heads_; ++k) {
    std::vector<Guess>& list = guesses.at_depth.emplace_back();
    for (const Candidate& c : heads[static_cast<size_t>(k)])
      list.push_back(guess(c.token, k, static_cast<double>(c.p)));
    std::ranges::stable_sort(list, std::greater<>(), &Guess::chance);
  }
}

// `saved`: how much sooner than without heads the tokens come that are expected of this step.
void MedusaDrafter::weigh_heads(double saved, double plain_ms) {
  constexpr double kWeight = 1.0 / 8;
  heads_save_ += kWeight * (saved / plain_ms - heads_save_);
  const bool paid = saved > 0 || heads_save_ > 0;
  next_pause_ = paid ? 0 : std::clamp<int64_t>(2 * next_pause_, 4, kLongestPause);
  pause_ = next_pause_;
}

void MedusaDrafter::propose_dynamic(const Tensor& hidden, std::span<const DraftContext> contexts, int64_t rows,
                                    std::span<DraftTree> trees) {
  const auto n = std::ssize(contexts);
  // Prompts are read with drafts or without: what they add to a step is no cost of its tokens.
  const auto of_prompts = [&](bool with_drafts) {
    return times_.ms(rows + n, with_drafts) - times_.ms(n, with_drafts);
  };
  const double beside_none = of_prompts(false), beside_drafts = of_prompts(true);
  const StepCost cost = [&](int64_t all) {
    const bool with_drafts = all > rows + n;
    return times_.ms(all, with_drafts) - (with_drafts ? beside_drafts : beside_none);
  };
  const double plain_ms = cost(rows + n);
  // What guesses as good as a source's best have been could gain: where that is nothing, nobody looks for any.
  const auto could_gain = [&](double chance) {
    return most_gain(n, rows, config_.most_nodes, chance, cost) >= kLeastGain;
  };
  const bool with_copies = config_.repetitions && could_gain(best_chance_of_copies());
  const bool with_heads = guesser_ != nullptr && pause_ == 0 && could_gain(1.0);
  if (pause_ > 0) --pause_;
  if (!with_copies && !with_heads) return;
  std::vector<TextGuesses> guesses(contexts.size());
  std::vector<int32_t> lasts;
  for (size_t i = 0; i < contexts.size(); ++i) {
    lasts.push_back(contexts[i].text.back());
    guesses[i].deepest = contexts[i].deepest;
    if (with_copies) add_copy(contexts[i], guesses[i]);
  }
  const auto planned = [&] { return plan_trees(guesses, lasts, rows, config_.most_nodes, cost); };
  const auto saved_ms = [&](const TreePlan& p) {
    return p.tokens / static_cast<double>(n) * plain_ms - p.milliseconds;
  };
  TreePlan plan = planned();
  if (with_heads) {
    const double without = saved_ms(plan);
    const std::vector<std::vector<Candidate>> heads = guess(hidden, contexts);
    const auto of_text = static_cast<size_t>(n_heads_);
    for (size_t i = 0; i < guesses.size(); ++i) add_heads(std::span(heads).subspan(i * of_text, of_text), guesses[i]);
    plan = planned();
    weigh_heads(saved_ms(plan) - without - heads_ms_, plain_ms);
  }
  const double gain = plan.tokens / static_cast<double>(n) * plain_ms / plan.milliseconds;
  if (gain < kLeastGain || (gain < kSureGain && drafted_in_turn_ >= kMostInTurn)) return;
  for (size_t i = 0; i < trees.size(); ++i) {
    trees[i] = std::move(plan.trees[i].tree);
    guesses_of_[contexts[i].sequence] = std::move(plan.trees[i].guesses);
  }
}

void MedusaDrafter::observe_step(int64_t rows, int64_t drafts, double ms) {
  if (!config_.learns_cost) return;
  times_.observe(rows, drafts > 0, ms);
  drafted_in_turn_ = drafts > 0 ? drafted_in_turn_ + 1 : 0;
}

// Each child of a node that was reached, and after which the text went on, was right or wrong.
void MedusaDrafter::observe(uint64_t sequence, const DraftTree& tree, std::span<const int32_t> accepted, bool went_on) {
  const auto planned = guesses_of_.find(sequence);
  if (planned == guesses_of_.end()) return;
  const std::span<const int32_t> judged = went_on ? accepted : accepted.first(accepted.size() - 1);
  for (size_t i = 0; i < judged.size(); ++i) {
    const int32_t next = i + 1 < accepted.size() ? accepted[i + 1] : -1;
    for (int64_t node = judged[i] + 1; node < tree.size(); ++node) {
      if (tree.parents[static_cast<size_t>(node)] != judged[i]) continue;
      const Guess& g = planned->second[static_cast<size_t>(node)];
      chances(g.source).observe(g.confidence, node == next);
    }
  }
}

}  // namespace gradus::lm
