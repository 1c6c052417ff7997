// Reverse-mode differentiation: a tape of fused operators (gradus/autograd/ops.h), run backwards once. Values and
// gradients are f32, bf16 or f16, or f64 on the scalar references. A tape is reused: after the first step neither its
// nodes nor its tensors allocate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gradus/core/tensor.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/gemm.h"

namespace gradus::autograd {

struct Parameter;

// A low-rank addition to a matrix W [out, in]: x goes to x W^T + scale (x A^T) B^T (ops.h: linear). Hu et al. 2021,
// "LoRA" (arXiv 2106.09685), equation 3.
struct LowRank {
  Parameter* a = nullptr;  // [r, in]
  Parameter* b = nullptr;  // [out, r]
  double scale = 1;        // alpha / r
};

// A weight that training changes. `grad` has the shape of `value` and is accumulated into by Tape::backward; it may be
// wider than `value`, as sums are.
struct Parameter {
  std::string name;
  Tensor value;  // what forward and backward read
  Tensor grad;
  kernels::PackedMatrix packed = {};  // of value^T, for few rows; empty unless Mlp::pack made it
  Tensor master = {};     // in mixed precision: what the optimiser updates, wider than `value`; of its shape,
                          // or where ranks share it out [n], this one's elements (optim::cut_masters)
  bool frozen = false;    // gradients flow through it, and none into it
  double rate = 1.0;      // times the optimiser's learning rate
  LowRank low_rank = {};  // what `linear` adds; nothing while its matrices are null

  // What a checkpoint keeps and an initialiser writes; call `changed` after writing. Not of a master that is cut
  // (run::whole_weights).
  Tensor& weights() {
    GRADUS_CHECK(has_all_weights());
    return master.defined() ? master : value;
  }
  const Tensor& weights() const {
    GRADUS_CHECK(has_all_weights());
    return master.defined() ? master : value;
  }
  bool has_all_weights() const { return !master.defined() || master.numel() == value.numel(); }
  DType weights_dtype() const { return master.defined() ? master.dtype() : value.dtype(); }

  void changed() {
    packed = {};
    if (master.defined() && has_all_weights()) kernels::convert(master, value);
  }
};

class Tape;

// A value on a tape; cheap to copy, valid until the tape is reset.
struct Var {
  Tape* tape = nullptr;
  int32_t id = -1;

  const Tensor& value() const;
  bool defined() const { return id >= 0; }
};

// An operator's record: what its backward needs. Lives in the tape's arena.
struct Node {
  virtual ~Node() = default;
  virtual void backward(Tape& tape) = 0;
};

// What a backward pass tells of the parameters' gradients; each may be empty.
struct GradientHooks {
  std::function<void(Parameter&)> before;    // it will now be added to: it must be there
  std::function<void(Parameter&)> complete;  // this pass adds no more to it
};

class Tape {
 public:
  // Inference: nothing is recorded, operators only compute.
  enum class Mode { record, inference };
  explicit Tape(Mode mode = Mode::record) : mode_(mode) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;
  ~Tape() { reset(); }

  bool recording() const { return mode_ == Mode::record; }

  // A value that gradients do not flow into.
  Var constant(Tensor value) { return emit(std::move(value), false); }
  // The result of an operator; `needs_grad` if any input does.
  Var emit(Tensor value, bool needs_grad);

  bool needs_grad(Var x) const { return slot(x).needs_grad; }
  const Tensor& value(Var x) const { return slot(x).value; }

  // dL/dx as accumulated so far; undefined if nothing has flowed in.
  const Tensor& grad(Var x) const { return slot(x).grad; }
  // Adds d_x, of the dtype of x or wider, to dL/dx. The first is taken over and may be shared between values: whoever
  // writes into one checks is_unique.
  void accumulate(Var x, Tensor d_x);

  // Records a node; its backward will run after those of all later nodes. Only while recording.
  template <class N, class... Args>
  void record(Args&&... args) {
    nodes_.push_back(new (allocate(sizeof(N), alignof(N))) N(std::forward<Args>(args)...));
  }

  // The node recorded last adds to p.grad.
  void note_gradient(Parameter& p) { uses_.emplace_back(nodes_.size() - 1, &p); }

  // Bytes of all values.
  int64_t value_bytes() const;

  // Runs all nodes backwards from dL/dloss = `seed`; `loss` has one element. Gradients of parameters are added to
  // Parameter::grad. The order of additions is the reverse order of recording: fixed. Intermediate gradients are freed
  // as they are used up.
  void backward(Var loss, double seed = 1.0, const GradientHooks& hooks = {});

  // Gradient of a node's output, moved out of the tape: each output is read once, by the node that made it.
  Tensor take_grad(Var x);
  // The same as it was accumulated, perhaps wider than the value.
  Tensor take_wide_grad(Var x) { return std::exchange(slot(x).grad, Tensor{}); }

  // Forgets all values and nodes, keeps the memory.
  void reset();

 private:
  struct Slot {
    Tensor value, grad;
    bool needs_grad = false;
  };
  static constexpr size_t kBlockBytes = size_t{1} << 16;

  Slot& slot(Var x) { return slots_[static_cast<size_t>(x.id)]; }
  const Slot& slot(Var x) const { return slots_[static_cast<size_t>(x.id)]; }
  void* allocate(size_t bytes, size_t alignment);

  Mode mode_;
  std::vector<Slot> slots_;
  std::vector<Node*> nodes_;
  std::vector<std::pair<size_t, Parameter*>> uses_;  // the nodes that add to a parameter's gradient, ascending
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  size_t block_ = 0, used_ = 0;

  std::vector<std::pair<size_t, Parameter*>> last_;  // of uses_, the one of each parameter whose backward runs last
  void find_last_uses();
};

inline const Tensor& Var::value() const {
  return tape->value(*this);
}

}  // namespace gradus::autograd
