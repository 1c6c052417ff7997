// Drafts from a second, smaller model that reads the same tokens: a chain of what it would say itself (Leviathan et al.
// 2023, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318). What Medusa heads are measured against.
// Differs: those keep a draft by rejection sampling, we while it is what would have been drawn anyway (sampler.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "gradus/lm/draft.h"
#include "gradus/lm/forward_pass.h"
#include "gradus/lm/model.h"

namespace gradus::lm {

class DraftModel final : public Drafter {
 public:
  // Of `length` tokens, each the model's likeliest after those before it. The model outlives the object. Throws
  // invalid_argument unless its tokens are `target`'s.
  DraftModel(Model& model, const Model& target, int64_t length = 4);

  // Texts one after the other: for a few at a time.
  void propose(const Tensor& hidden, std::span<const DraftContext> contexts, int64_t rows,
               std::span<DraftTree> trees) override;
  void observe(uint64_t, const DraftTree&, std::span<const int32_t>, bool) override {}

 private:
  // What the model has read of a text, drafts that came to nothing included.
  struct Reading {
    std::unique_ptr<ForwardPass> pass = {};
    int64_t room = 0;  // tokens that it may come to read
    std::vector<int32_t> tokens = {};
  };
  Reading& reading_of(const DraftContext& context);
  void draft(const DraftContext& context, DraftTree& tree);

  Model& model_;
  int64_t length_;
  std::map<uint64_t, Reading> readings_;
};

}  // namespace gradus::lm
