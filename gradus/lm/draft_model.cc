#include "gradus/lm/draft_model.h"

#include <algorithm>

#include "gradus/kernels/sampling.h"

namespace gradus::lm {

namespace {

// Texts whose keys are kept: a sampler that goes through many leaves them behind.
constexpr size_t kMostReadings = 64;

int32_t likeliest(const Tensor& logits, int64_t n_drawn) {
  int32_t id = -1;
  float log_prob = 0;
  kernels::sample_tokens(logits, 0.0, {}, {&id, 1}, {&log_prob, 1}, n_drawn);
  return id;
}

}  // namespace

DraftModel::DraftModel(Model& model, const Model& target, int64_t length) : model_(model), length_(length) {
  require(length >= 1, "draft model: a chain of {} tokens drafts nothing; take 1 or more", length);
  const Tokenizer &ours = model.tokenizer(), &theirs = target.tokenizer();
  require(ours.n_vocab() == theirs.n_vocab(),
          "draft model: it has {} tokens and the model {}; take one with the same tokenizer", ours.n_vocab(),
          theirs.n_vocab());
  for (int32_t id = 0; id < ours.n_vocab(); ++id) {
    require(ours.token(id) == theirs.token(id),
            "draft model: its token {} is '{}' and the model's is '{}'; take one with the same tokenizer", id,
            ours.token(id), theirs.token(id));
  }
}

DraftModel::Reading& DraftModel::reading_of(const DraftContext& context) {
  const auto longest = static_cast<int64_t>(context.text.size()) + context.deepest + 1;
  const int64_t room = std::min(longest, model_.config().max_positions);
  if (readings_.size() == kMostReadings && !readings_.contains(context.sequence))
    readings_.erase(readings_.begin());  // sequences begin in order
  Reading& reading = readings_[context.sequence];
  if (reading.room < room)
    reading = {.pass = std::make_unique<ForwardPass>(model_.transformer(), room), .room = room, .tokens = {}};
  return reading;
}

void DraftModel::propose(const Tensor&, std::span<const DraftContext> contexts, int64_t, std::span<DraftTree> trees) {
  for (size_t i = 0; i < contexts.size(); ++i) draft(contexts[i], trees[i]);
}

void DraftModel::draft(const DraftContext& context, DraftTree& tree) {
  const std::span<const int32_t> text = context.text;
  const auto n = static_cast<int64_t>(text.size());
  const int64_t depth = std::min({length_, context.deepest, model_.config().max_positions - n});
  if (depth < 1) return;
  Reading& reading = reading_of(context);
  const auto known = std::ranges::mismatch(reading.tokens, text).in1 - reading.tokens.begin();
  const int64_t first = std::min<int64_t>(known, n - 1);  // the last one's logits are due
  reading.pass->move_to(first);
  reading.tokens.assign(text.begin(), text.end());
  Tensor logits = reading.pass->read(text.subspan(static_cast<size_t>(first)), ForwardPass::Logits::of_last);
  for (int32_t node = 0;;) {
    const int32_t token = likeliest(logits, model_.n_drawn());
    node = tree.add(token, node);
    if (tree.size() > depth) return;
    reading.tokens.push_back(token);
    logits = reading.pass->read({&token, 1}, ForwardPass::Logits::of_last);
  }
}

}  // namespace gradus::lm
