#include "gradus/lm/generation.h"

#include <algorithm>
#include <chrono>

#include "gradus/core/rng.h"
#include "gradus/kernels/embedding.h"
#include "gradus/kernels/softmax.h"
#include "gradus/lm/acceptance.h"

namespace gradus::lm {

namespace {

// Sharing pays when it saves this many rows, or half a prompt; else nobody waits for it.
constexpr int64_t kWorthSharing = 16;

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

Tensor gather(std::span<const int32_t> rows, const Tensor& x) {
  Tensor y = Tensor::empty({static_cast<int64_t>(rows.size()), x.dim(1)}, x.dtype());
  kernels::embedding(rows, x, y);
  return y;
}

}  // namespace

Generation::Generation(Model& model, const SamplerConfig& config, Drafter* drafter,
                       std::span<const SampleRequest> requests, const Sampler::Hooks& hooks, SamplerStats& stats)
    : model_(model),
      config_(config),
      drafter_(drafter),
      requests_(requests),
      hooks_(hooks),
      stats_(stats),
      samples_(requests.size()) {
  check();
  int64_t longest = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    longest = std::max(longest, static_cast<int64_t>(requests[i].prompt.size()));
    stats_.prompt_tokens += static_cast<int64_t>(requests[i].prompt.size());
    waiting_.push_back(i);
  }
  const int64_t batch = std::min<int64_t>(config.max_batch, static_cast<int64_t>(requests.size()));
  const int64_t n_pages = batch * pages_for(longest + config.max_tokens);
  cache_ = model.transformer().make_cache(n_pages);
  pool_ = PagePool(n_pages);
}

void Generation::check() const {
  const SamplerConfig& c = config_;
  require(c.max_batch >= 1 && c.max_tokens >= 1 && c.prefill_rows >= 1,
          "sampler: max_batch {}, max_tokens {} and prefill_rows {} must be at least 1", c.max_batch, c.max_tokens,
          c.prefill_rows);
  require(c.temperature >= 0, "sampler: temperature is {}, but must be 0 or more", c.temperature);
  c.filters.check();
  require(c.typical.epsilon > 0 && c.typical.delta > 0, "sampler: epsilon {} and delta {} must be positive",
          c.typical.epsilon, c.typical.delta);
  require(std::ranges::none_of(c.stop, &std::string::empty), "sampler: an empty stop string ends every response");
  const int64_t room = model_.config().max_positions;
  for (const SampleRequest& r : requests_) {
    require(!r.prompt.empty(), "sampler: an empty prompt; give at least one token");
    const auto positions = static_cast<int64_t>(r.prompt.size()) + c.max_tokens;
    require(positions <= room,
            "sampler: a prompt of {} tokens and max_tokens {} need {} positions, but the model has {}", r.prompt.size(),
            c.max_tokens, positions, room);
  }
}

int64_t Generation::pages_for(int64_t tokens) const {
  return (tokens + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
}

void Generation::step() {
  admit();
  build_batch();
  const auto start = std::chrono::steady_clock::now();
  const nn::Var hidden = model_.transformer().hidden(tape_, batch_, &cache_);
  draw(hidden.value());
  keep_drafted();
  const bool only_draws = std::ssize(logit_rows_) == batch_.rows();  // nothing of a prompt was read
  if (drafter_ != nullptr && only_draws) drafter_->observe_step(batch_.rows(), n_drafts_, milliseconds_since(start));
  propose(hidden.value());
  tape_.reset();
  ++stats_.steps;
  retire();
}

// Those that fit, in order; one that shares what is still being read waits for that, and lets others pass.
void Generation::admit() {
  std::deque<size_t> left;
  while (!waiting_.empty() && static_cast<int64_t>(running_.size()) < config_.max_batch) {
    const size_t request = waiting_.front();
    const auto most = pages_for(static_cast<int64_t>(requests_[request].prompt.size()) + config_.max_tokens);
    if (reserved_ + most > pool_.n_pages()) break;
    waiting_.pop_front();
    if (!begin(request)) left.push_back(request);
  }
  waiting_.insert(waiting_.begin(), left.begin(), left.end());
  GRADUS_CHECK(!running_.empty());
}

bool Generation::begin(size_t request) {
  const std::span<const int32_t> prompt = requests_[request].prompt;
  const auto n = static_cast<int64_t>(prompt.size());
  PrefixCache::Match match;
  if (config_.share_prefixes) match = prefixes_.find(prompt.first(prompt.size() - 1));  // the last one's logits are due
  const bool worth_it = match.tokens() >= kWorthSharing || 2 * match.tokens() >= n;
  if (!worth_it) match = {};
  if (!match.ready) return false;

  Running r{.request = request, .text = {prompt.begin(), prompt.end()}, .prompt_tokens = n};
  r.text.reserve(prompt.size() + static_cast<size_t>(config_.max_tokens));
  r.most_pages = pages_for(n + config_.max_tokens);
  reserved_ += r.most_pages;
  r.pages = match.pages;
  for (const int32_t page : match.pages) pool_.share(page);
  if (match.partial > 0) {
    r.pages.push_back(take_page());  // in a full cache perhaps the very page, forgotten
    cache_.copy_page(match.partial_page, r.pages.back());
  }
  r.n_cached = match.tokens();
  stats_.shared_tokens += r.n_cached;
  make_room(r, n);
  if (config_.share_prefixes) r.unread = prefixes_.add(prompt, r.pages, false);
  running_.push_back(std::move(r));
  return true;
}

int32_t Generation::take_page() {
  std::optional<int32_t> page = pool_.take();
  while (!page) {
    GRADUS_CHECK(prefixes_.forget_one());  // for running sequences hold no more than is reserved
    page = pool_.take();
  }
  return *page;
}

void Generation::make_room(Running& r, int64_t tokens) {
  while (static_cast<int64_t>(r.pages.size()) < pages_for(tokens)) r.pages.push_back(take_page());
}

// Rows of prompts, as many as a step may have, and of the tokens drawn last; then those of drafts.
void Generation::build_batch() {
  batch_.clear();
  drawings_.clear();
  logit_rows_.clear();
  n_drafts_ = 0;
  int64_t left = config_.prefill_rows;
  std::vector<const Running*> in_order;
  for (size_t i = 0; i < running_.size(); ++i) {
    Running& r = running_[i];
    if (r.has_drafts()) continue;
    const bool reads = r.reads();
    const int64_t n = reads ? std::min(left, r.prompt_tokens - r.n_cached) : 1;
    if (n == 0) continue;
    if (reads) left -= n;
    make_room(r, r.n_cached + n);
    batch_.append(std::span(r.text).subspan(static_cast<size_t>(r.n_cached), static_cast<size_t>(n)),
                  static_cast<int32_t>(r.n_cached));
    in_order.push_back(&r);
    r.n_cached += n;
    PrefixCache::ready(r.unread, r.n_cached);
    if (r.reads()) continue;
    const int64_t last = batch_.rows() - 1;
    drawings_.push_back({.running = i, .row = static_cast<int64_t>(logit_rows_.size()), .hidden = last});
    logit_rows_.push_back(static_cast<int32_t>(last));
  }
  for (size_t i = 0; i < running_.size(); ++i) {
    Running& r = running_[i];
    if (!r.has_drafts()) continue;
    const int64_t first = batch_.rows();
    batch_.append_tree(r.tree.tokens, r.tree.parents, static_cast<int32_t>(r.n_cached));
    in_order.push_back(&r);
    drawings_.push_back({.running = i, .row = static_cast<int64_t>(logit_rows_.size()), .hidden = first});
    for (int64_t node = 0; node < r.tree.size(); ++node) logit_rows_.push_back(static_cast<int32_t>(first + node));
    n_drafts_ += r.tree.size() - 1;
    ++stats_.draft_steps;
  }
  stats_.drafted_tokens += n_drafts_;
  for (const Running* r : in_order)
    batch_.max_blocks = std::max(batch_.max_blocks, static_cast<int64_t>(r->pages.size()));
  for (const Running* r : in_order) {
    batch_.block_table.insert(batch_.block_table.end(), r->pages.begin(), r->pages.end());
    batch_.block_table.resize(batch_.block_table.size() + static_cast<size_t>(batch_.max_blocks) - r->pages.size(), -1);
  }
}

void Generation::draw(const Tensor& hidden) {
  if (logit_rows_.empty()) return;
  const Tensor logits = model_.transformer().logits(gather(logit_rows_, hidden));
  if (config_.acceptance == Acceptance::typical) {
    for (Drawing& d : drawings_) follow_typical(logits, d);
  }
  follow_draws(logits);
}

// Every sequence draws at the node where it stands, and goes on to the child that has the drawn token, if there is one.
void Generation::follow_draws(const Tensor& logits) {
  std::vector<size_t> drawing;
  for (size_t i = 0; i < drawings_.size(); ++i) {
    if (!drawings_[i].over) drawing.push_back(i);
  }
  std::vector<DrawRequest> requests;
  while (!drawing.empty()) {
    requests.clear();
    for (const size_t i : drawing) {
      Drawing& d = drawings_[i];
      const Running& r = running_[d.running];
      if (r.has_drafts() && d.accepted.empty()) d.accepted.push_back(0);
      const auto position = static_cast<uint32_t>(r.text.size());
      Rng rng(config_.seed, Purpose::sample, requests_[r.request].sequence, position);
      requests.push_back(
          {.row = d.row + d.node, .uniform = rng.uniform_f32(), .text = r.text, .prompt_tokens = r.prompt_tokens});
    }
    drawer_.draw(logits, config_.temperature, config_.filters, requests, model_.n_drawn());
    std::vector<size_t> go_on;
    for (size_t k = 0; k < drawing.size(); ++k) {
      Drawing& d = drawings_[drawing[k]];
      Running& r = running_[d.running];
      const kernels::TokenDraw& drawn = drawer_.draws()[k];
      d.over = append(r, drawn.id, drawn.log_prob);
      if (d.over || !r.has_drafts() || config_.acceptance == Acceptance::typical) continue;
      const int32_t child = r.tree.child(d.node, drawn.id);
      if (child < 0) continue;
      d.accepted.push_back(d.node = child);
      go_on.push_back(drawing[k]);
    }
    drawing = std::move(go_on);
  }
}

// Takes over the tokens of the path that is likely enough; the one after it is drawn.
void Generation::follow_typical(const Tensor& logits, Drawing& d) {
  Running& r = running_[d.running];
  if (!r.has_drafts()) return;
  const std::vector<int32_t> path = typical_path(logits, d.row, r.tree, config_.temperature, config_.typical);
  Tensor log_p = Tensor::empty({1}, logits.dtype()), lse = Tensor::empty({1}, logits.dtype());
  d.accepted = {0};
  for (size_t i = 1; i < path.size() && !d.over; ++i) {
    const int32_t id = r.tree.tokens[static_cast<size_t>(path[i])];
    const int64_t row = d.row + path[i - 1];
    kernels::log_prob(logits.rows(row, row + 1), std::span(&id, 1), config_.temperature == 0 ? 1 : config_.temperature,
                      log_p, lse);
    d.accepted.push_back(d.node = path[i]);
    d.over = append(
        r, id, logits.dtype() == DType::f64 ? static_cast<float>(log_p.data<double>()[0]) : log_p.data<float>()[0]);
  }
}

// A token more; true when the response is over.
bool Generation::append(Running& r, int32_t id, float log_prob) {
  Sample& sample = samples_[r.request];
  r.text.push_back(id);
  sample.tokens.push_back(id);
  sample.log_probs.push_back(log_prob);
  ++stats_.response_tokens;
  sample.ended = model_.ends(id) || completes_stop(r, id, sample);
  return sample.ended || static_cast<int64_t>(sample.tokens.size()) >= config_.max_tokens;
}

bool Generation::completes_stop(Running& r, int32_t id, Sample& sample) {
  if (config_.stop.empty()) return false;
  const size_t before = r.tail.size();
  r.tail += model_.tokenizer().decode(std::span(&id, 1));
  size_t longest = 0, first = std::string::npos;
  for (const std::string& stop : config_.stop) {
    longest = std::max(longest, stop.size());
    const size_t at = r.tail.find(stop, before - std::min(before, stop.size() - 1));
    if (at < first) first = at, sample.stop = stop;
  }
  if (r.tail.size() > 2 * longest) r.tail.erase(0, r.tail.size() - longest);
  return first != std::string::npos;
}

// The keys of the nodes that texts have now go where they belong.
void Generation::keep_drafted() {
  if (batch_.n_trees() == 0) return;
  std::vector<int32_t> rows, offsets = {0}, positions, block_table;
  const auto first_tree_row = static_cast<int32_t>(batch_.rows() - batch_.tree_rows());
  for (Drawing& d : drawings_) {
    Running& r = running_[d.running];
    if (!r.has_drafts()) continue;
    drafter_->observe(r.request, r.tree, d.accepted, !d.over);
    make_room(r, r.n_cached + static_cast<int64_t>(d.accepted.size()));
    for (const int32_t node : d.accepted) {
      rows.push_back(static_cast<int32_t>(d.hidden) - first_tree_row + node);
      positions.push_back(static_cast<int32_t>(r.n_cached++));
    }
    offsets.push_back(static_cast<int32_t>(rows.size()));
    batch_.max_blocks = std::max(batch_.max_blocks, static_cast<int64_t>(r.pages.size()));
    const size_t depth = d.accepted.size() - 1;
    if (stats_.accepted_at.size() < depth) stats_.accepted_at.resize(depth);
    for (size_t i = 0; i < depth; ++i) ++stats_.accepted_at[i];
  }
  for (const Drawing& d : drawings_) {
    const Running& r = running_[d.running];
    if (!r.has_drafts()) continue;
    block_table.insert(block_table.end(), r.pages.begin(), r.pages.end());
    block_table.resize(block_table.size() + static_cast<size_t>(batch_.max_blocks) - r.pages.size(), -1);
  }
  cache_.keep_drafted(
      rows,
      {.row_offsets = offsets, .key_positions = positions, .block_table = block_table, .max_blocks = batch_.max_blocks},
      model_.transformer().attention_shape(0));
}

void Generation::propose(const Tensor& hidden) {
  for (Running& r : running_) r.tree.clear();
  if (drafter_ == nullptr) return;
  std::vector<DraftContext> contexts;
  std::vector<size_t> of;
  for (const Drawing& d : drawings_) {
    if (d.over) continue;
    const Running& r = running_[d.running];
    const auto left = config_.max_tokens - static_cast<int64_t>(samples_[r.request].tokens.size());
    contexts.push_back({.text = r.text,
                        .sequence = r.request,
                        .deepest = left - 1,
                        .hidden_row = static_cast<int32_t>(d.hidden) + d.node});
    of.push_back(d.running);
  }
  if (contexts.empty()) return;
  std::vector<DraftTree> trees(contexts.size());
  for (size_t i = 0; i < trees.size(); ++i) trees[i].add(contexts[i].text.back(), -1);
  int64_t unread = 0;  // of prompts that have begun
  for (const Running& r : running_) unread += std::max<int64_t>(0, r.prompt_tokens - r.n_cached);
  const int64_t others = std::min(unread, config_.prefill_rows);
  drafter_->propose(hidden, contexts, others, trees);
  for (size_t i = 0; i < trees.size(); ++i) running_[of[i]].tree = std::move(trees[i]);
}

void Generation::retire() {
  std::vector<bool> grown(running_.size(), false), over(running_.size(), false);
  for (const Drawing& d : drawings_) {
    grown[d.running] = true;
    over[d.running] = d.over;
  }
  size_t kept = 0;
  for (size_t i = 0; i < running_.size(); ++i) {
    Running& r = running_[i];
    if (grown[i] && hooks_.on_tokens) hooks_.on_tokens(r.request, samples_[r.request]);
    if (over[i]) {
      for (const int32_t page : r.pages) pool_.release(page);
      reserved_ -= r.most_pages;
      continue;
    }
    if (kept != i) running_[kept] = std::move(r);
    ++kept;
  }
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(kept), running_.end());
}

}  // namespace gradus::lm
