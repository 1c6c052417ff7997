// AdamW over a list of parameters: moments, step count, and a reset. The update itself is kernels::adamw_update, on
// Parameter::master, which Parameter::value follows, or on the value where there is none.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/autograd/tape.h"

namespace gradus::optim {

struct AdamWConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.0;  // matrices only; gains and biases are not decayed
  uint64_t seed = 0;          // of the stochastic rounding of bf16 weights without a master copy
};

// Elements [begin, end) of a parameter.
struct Piece {
  size_t parameter = 0;  // its place in the list
  int64_t begin = 0, end = 0;

  int64_t size() const { return end - begin; }
};

// The piece of a tensor of the parameter's shape: the tensor itself, or [piece.size()]; it shares the elements.
Tensor piece_of(const Tensor& t, const Piece& piece);

// From now on the parameters' masters are these pieces alone, at most one of each parameter, and where there is none an
// empty tensor. Masters that are cut already must be these.
void cut_masters(std::span<autograd::Parameter* const> parameters, std::span<const Piece> pieces);

class AdamW {
 public:
  AdamW(std::vector<autograd::Parameter*> parameters, const AdamWConfig& config);

  // One update from Parameter::grad * grad_scale, or from `gradients`, one for each piece, where they are given. The
  // pieces' values follow; whoever gathers other pieces calls Parameter::changed.
  void step(double learning_rate, double grad_scale = 1.0, std::span<const Tensor> gradients = {});

  // Forgets moments and step count: each k1.5 iteration is a new problem. `problem` numbers it, so that its updates are
  // rounded with random numbers of their own.
  void reset(uint64_t problem);

  // From now on only these pieces are updated, and only they have moments, which start anew: the rest is other ranks'
  // work. Masters may be cut to the same pieces.
  //   pieces  in the parameters' order; each begins at a multiple of 8 elements
  void take_pieces(std::vector<Piece> pieces);
  const std::vector<Piece>& pieces() const { return pieces_; }

  int64_t steps() const { return steps_; }
  const std::vector<autograd::Parameter*>& parameters() const { return parameters_; }

  // State for a checkpoint: a moment for each piece, of the parameter's shape when that is the whole parameter.
  std::vector<Tensor>& first_moments();
  std::vector<Tensor>& second_moments();
  void set_steps(int64_t steps) { steps_ = steps; }

 private:
  void make_moments();

  std::vector<autograd::Parameter*> parameters_;
  AdamWConfig config_;
  std::vector<Piece> pieces_;
  std::vector<Tensor> m_, v_;  // empty until they are used: then it is known who keeps which
  int64_t steps_ = 0;
  uint64_t problem_ = 0;
};

}  // namespace gradus::optim
