#include "gradus/lm/sampler.h"

#include <algorithm>

#include "gradus/core/rng.h"
#include "gradus/kernels/embedding.h"
#include "gradus/kernels/sampling.h"

namespace gradus::lm {

namespace {

// A sequence being decoded.
struct Running {
  size_t request = 0;
  int32_t n_cached = 0;  // tokens whose keys are in the cache
  std::vector<int32_t> pages;
};

// One generate call: the cache, who waits, who runs.
class Generation {
 public:
  Generation(Model& model, const SamplerConfig& config, std::span<const SampleRequest> requests)
      : model_(model),
        config_(config),
        requests_(requests),
        samples_(requests.size()),
        tape_(nn::Tape::Mode::inference) {
    require(config.max_batch >= 1 && config.max_tokens >= 1 && config.prefill_rows >= 1,
            "sampler: max_batch {}, max_tokens {} and prefill_rows {} must be at least 1", config.max_batch,
            config.max_tokens, config.prefill_rows);
    size_t longest = 0;
    for (const SampleRequest& r : requests) {
      require(!r.prompt.empty(), "sampler: an empty prompt; give at least one token");
      longest = std::max(longest, r.prompt.size());
    }
    const auto positions = static_cast<int64_t>(longest) + config.max_tokens;
    require(positions <= model.config().max_positions,
            "sampler: a prompt of {} tokens and max_tokens {} need {} positions, but the model has {}", longest,
            config.max_tokens, positions, model.config().max_positions);
    const int64_t batch = std::min<int64_t>(config.max_batch, static_cast<int64_t>(requests.size()));
    const int64_t blocks = (positions + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
    cache_ = model.transformer().make_cache(batch * blocks);
    for (int64_t p = batch * blocks; p-- > 0;) free_pages_.push_back(static_cast<int32_t>(p));
    model.transformer().pack();
  }

  bool done() const { return next_ == requests_.size() && running_.empty(); }

  // Admits waiting sequences, runs one forward pass over all rows due, and draws a token for each sequence.
  void step(SamplerStats& stats) {
    admit();
    build_batch(stats);
    const nn::Var hidden = model_.transformer().hidden(tape_, batch_, &cache_);
    draw(hidden.value());
    tape_.reset();
    stats.response_tokens += static_cast<int64_t>(running_.size());
    ++stats.steps;
    retire();
  }

  std::vector<Sample> take() { return std::move(samples_); }

 private:
  void admit() {
    int64_t rows = 0;
    while (next_ < requests_.size() && static_cast<int64_t>(running_.size()) < config_.max_batch) {
      const auto prompt = static_cast<int64_t>(requests_[next_].prompt.size());
      if (rows > 0 && rows + prompt > config_.prefill_rows) return;
      rows += prompt;
      running_.push_back({.request = next_++, .n_cached = 0, .pages = {}});
    }
  }

  void build_batch(SamplerStats& stats) {
    batch_.clear();
    last_rows_.clear();
    for (Running& r : running_) {
      const SampleRequest& request = requests_[r.request];
      const std::vector<int32_t>& response = samples_[r.request].tokens;
      if (r.n_cached == 0) {
        batch_.append(request.prompt);
        stats.prompt_tokens += static_cast<int64_t>(request.prompt.size());
      } else {
        batch_.append(std::span(&response.back(), 1), r.n_cached);
      }
      r.n_cached = batch_.positions.back() + 1;
      while (static_cast<int64_t>(r.pages.size()) * kernels::kKeyBlock < r.n_cached) {
        GRADUS_CHECK(!free_pages_.empty());
        r.pages.push_back(free_pages_.back());
        free_pages_.pop_back();
      }
      last_rows_.push_back(static_cast<int32_t>(batch_.rows()) - 1);
      batch_.max_blocks = std::max(batch_.max_blocks, static_cast<int64_t>(r.pages.size()));
    }
    for (const Running& r : running_) {
      batch_.block_table.insert(batch_.block_table.end(), r.pages.begin(), r.pages.end());
      batch_.block_table.resize(batch_.block_table.size() + static_cast<size_t>(batch_.max_blocks) - r.pages.size(),
                                -1);
    }
  }

  void draw(const Tensor& hidden) {
    Tensor last = Tensor::empty({static_cast<int64_t>(last_rows_.size()), hidden.dim(1)}, hidden.dtype());
    kernels::embedding(last_rows_, hidden, last);
    const Tensor logits = model_.transformer().logits(last);
    uniforms_.clear();
    for (const Running& r : running_) {
      Rng rng(config_.seed, Purpose::sample, requests_[r.request].sequence, static_cast<uint32_t>(r.n_cached));
      uniforms_.push_back(rng.uniform_f32());
    }
    ids_.resize(running_.size());
    log_probs_.resize(running_.size());
    kernels::sample_tokens(logits, config_.temperature, uniforms_, ids_, log_probs_, model_.n_drawn());
  }

  void retire() {
    size_t kept = 0;
    for (size_t i = 0; i < running_.size(); ++i) {
      Sample& sample = samples_[running_[i].request];
      sample.tokens.push_back(ids_[i]);
      sample.log_probs.push_back(log_probs_[i]);
      sample.ended = model_.ends(ids_[i]);
      if (sample.ended || static_cast<int64_t>(sample.tokens.size()) >= config_.max_tokens) {
        free_pages_.insert(free_pages_.end(), running_[i].pages.rbegin(), running_[i].pages.rend());
        continue;
      }
      if (kept != i) running_[kept] = std::move(running_[i]);
      ++kept;
    }
    running_.resize(kept);
  }

  Model& model_;
  const SamplerConfig& config_;
  std::span<const SampleRequest> requests_;
  std::vector<Sample> samples_;
  nn::Tape tape_;
  nn::KeyValueCache cache_;
  std::vector<int32_t> free_pages_;
  std::vector<Running> running_;
  size_t next_ = 0;
  nn::TokenBatch batch_;
  std::vector<int32_t> last_rows_, ids_;
  std::vector<float> uniforms_, log_probs_;
};

}  // namespace

std::vector<Sample> Sampler::generate(std::span<const SampleRequest> requests,
                                      const std::function<bool()>& should_stop) {
  stats_ = {};
  Generation generation(model_, config_, requests);
  while (!generation.done()) {
    if (should_stop && should_stop()) fail(ErrorCode::interrupted, "sampler: stopped on request");
    generation.step(stats_);
  }
  return generation.take();
}

}  // namespace gradus::lm
