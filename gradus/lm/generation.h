// One call of Sampler::generate: who waits, who runs, and what of the cache is whose.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "gradus/lm/page_pool.h"
#include "gradus/lm/prefix_cache.h"
#include "gradus/lm/sampler.h"

namespace gradus::lm {

class Generation {
 public:
  // All referenced things outlive the object. Throws what Sampler::generate throws of settings and requests.
  Generation(Model& model, const SamplerConfig& config, Drafter* drafter, std::span<const SampleRequest> requests,
             const Sampler::Hooks& hooks, SamplerStats& stats);

  bool done() const { return waiting_.empty() && running_.empty(); }

  // Admits waiting sequences, runs one forward pass over all rows due, and draws for each sequence a token, or as many
  // as its drafts had right and one more.
  void step();

  std::vector<Sample> take() { return std::move(samples_); }

 private:
  // A sequence that is read or decoded.
  struct Running {
    size_t request = 0;
    std::vector<int32_t> text = {};  // prompt and response
    int64_t prompt_tokens = 0;
    int64_t n_cached = 0;  // tokens whose keys are in the cache
    std::vector<int32_t> pages = {};
    int64_t most_pages = 0;
    std::vector<PrefixCache::Node*> unread = {};  // what others may share once it has been read
    DraftTree tree = {};                          // node 0 is the last token; no more than that in it: no drafts
    std::string tail = {};                        // the end of the response's text, when there are stop strings

    bool reads() const { return n_cached < prompt_tokens; }
    bool has_drafts() const { return tree.size() > 1; }
  };
  // Where a sequence's logits of this step are.
  struct Drawing {
    size_t running = 0;
    int64_t row = 0;                     // of the logits; of a tree, its node 0's
    int64_t hidden = 0;                  // of all rows
    int32_t node = 0;                    // of the tree: where the text stands
    std::vector<int32_t> accepted = {};  // if there are drafts: the way from node 0 to that one
    bool over = false;
  };

  void check() const;
  int64_t pages_for(int64_t tokens) const;
  void admit();
  bool begin(size_t request);
  int32_t take_page();
  void make_room(Running& r, int64_t tokens);
  void build_batch();
  void add_rows(const Running& r);
  void draw(const Tensor& hidden);
  void follow_draws(const Tensor& logits);
  void follow_typical(const Tensor& logits, Drawing& d);
  bool append(Running& r, int32_t id, float log_prob);
  bool completes_stop(Running& r, int32_t id, Sample& sample);
  void keep_drafted();
  void propose(const Tensor& hidden);
  void retire();

  Model& model_;
  const SamplerConfig& config_;
  Drafter* drafter_;
  std::span<const SampleRequest> requests_;
  const Sampler::Hooks& hooks_;
  SamplerStats& stats_;
  std::vector<Sample> samples_;
  nn::Tape tape_{nn::Tape::Mode::inference};
  nn::KeyValueCache cache_;
  PagePool pool_{0};
  PrefixCache prefixes_{pool_};
  int64_t reserved_ = 0;  // pages that running sequences may come to need
  std::deque<size_t> waiting_;
  std::vector<Running> running_;
  nn::TokenBatch batch_;
  std::vector<Drawing> drawings_;
  std::vector<int32_t> logit_rows_;  // of the hidden states, that logits are made of
  int64_t n_drafts_ = 0;             // nodes below those of the texts' last tokens
  TokenDrawer drawer_;
};

}  // namespace gradus::lm
