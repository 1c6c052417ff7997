// Forward passes of one sequence over its own key/value cache, without drawing tokens: what timing a model takes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/nn/transformer.h"

namespace gradus::lm {

class ForwardPass {
 public:
  // Room for `positions` tokens; keys and values are zeros until tokens are read. The model outlives it. Throws
  // invalid_argument unless 1 <= positions <= the model's.
  ForwardPass(nn::Transformer& model, int64_t positions);

  // Where the next tokens go. Positions before it that were never read hold zeros.
  int64_t position() const { return position_; }
  void move_to(int64_t position) { position_ = position; }

  enum class Logits { of_all, of_last };
  // Reads ids at the next positions, moves there, and returns logits [n, n_vocab] of all of them or [1, n_vocab] of the
  // last. Throws invalid_argument on no ids or more than there is room for.
  Tensor read(std::span<const int32_t> ids, Logits logits);

 private:
  nn::Transformer& model_;
  nn::KeyValueCache cache_;
  nn::Tape tape_{nn::Tape::Mode::inference};
  nn::TokenBatch batch_;
  int64_t position_ = 0, limit_;
};

}  // namespace gradus::lm
