#include "gradus/lm/medusa/drafter.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "gradus/core/json.h"
#include "gradus/lm/repetition.h"

namespace gradus::lm {

namespace {

constexpr int64_t kShortestRepetition = 2, kLongestRepetition = 16;
constexpr size_t kRemembered = 4096;  // tokens of a text's end in which a repetition is looked for
// The gain below which nothing is drafted, since costs are never known that well; and the one below which heads are
// left alone for a while, about what they themselves cost.
constexpr double kLeastGain = 1.03, kLeastGainOfHeads = 1.06;
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
    : guesser_(guesser), n_heads_(guesser != nullptr ? heads : 0), config_(config) {
  chances_.resize(static_cast<size_t>(n_heads_ + kCopyLengths));
  if (!config_.cost) config_.cost = assumed_cost;
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
  std::vector<int32_t> drawn;
  for (const DraftContext& c : contexts) drawn.push_back(c.text.back());
  return guesser_->guess(hidden, drawn, config_.guesses_per_head);
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
  constexpr double kConfidence = 0.5;  // what is known is how often copies of such lengths were right
  for (const int32_t token : r.continuation) guesses.path.push_back(guess(token, source, kConfidence));
}

void MedusaDrafter::propose_dynamic(const Tensor& hidden, std::span<const DraftContext> contexts, int64_t rows,
                                    std::span<DraftTree> trees) {
  const size_t n = contexts.size();
  // If all guesses were right: what a large batch need not look further than.
  const double best_gain = most_gain(std::ssize(contexts), rows, config_.most_nodes, 1.0, config_.cost);
  if (best_gain < kLeastGain) return;
  std::vector<TextGuesses> guesses(n);
  std::vector<int32_t> lasts;
  for (size_t i = 0; i < n; ++i) {
    lasts.push_back(contexts[i].text.back());
    guesses[i].deepest = contexts[i].deepest;
    if (config_.repetitions) add_copy(contexts[i], guesses[i]);
  }
  const bool with_heads = guesser_ != nullptr && pause_ == 0 && best_gain >= kLeastGainOfHeads;
  if (pause_ > 0) --pause_;
  if (with_heads) {
    const std::vector<std::vector<Candidate>> heads = guess(hidden, contexts);
    for (size_t i = 0; i < n; ++i) {
      guesses[i].at_depth.resize(static_cast<size_t>(n_heads_));
      for (int32_t k = 0; k < n_heads_; ++k) {
        std::vector<Guess>& list = guesses[i].at_depth[static_cast<size_t>(k)];
        for (const Candidate& c : heads[i * static_cast<size_t>(n_heads_) + static_cast<size_t>(k)])
          list.push_back(guess(c.token, k, static_cast<double>(c.p)));
        std::ranges::stable_sort(list, std::greater<>(), &Guess::chance);
      }
    }
  }
  const auto is_empty = [](const TextGuesses& g) { return g.at_depth.empty() && g.path.empty(); };
  if (std::ranges::all_of(guesses, is_empty)) return;
  TreePlan plan = plan_trees(guesses, lasts, rows, config_.most_nodes, config_.cost);
  const double gain =
      plan.tokens / static_cast<double>(n) * config_.cost(rows + static_cast<int64_t>(n)) / plan.milliseconds;
  if (with_heads) {
    next_pause_ = gain >= kLeastGainOfHeads ? 0 : std::clamp<int64_t>(2 * next_pause_, 4, kLongestPause);
    pause_ = next_pause_;
  }
  if (gain < kLeastGain) return;
  for (size_t i = 0; i < n; ++i) {
    trees[i] = std::move(plan.trees[i].tree);
    guesses_of_[contexts[i].sequence] = std::move(plan.trees[i].guesses);
  }
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
