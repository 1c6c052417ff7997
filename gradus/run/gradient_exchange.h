// Gradients become everybody's: those of this rank's shards are added up in a tree, bucket by bucket summed over ranks
// on the communication thread while the backward pass goes on, the last on this one, and the update is made; with ZeRO
// each rank updates its slices, of which it alone may keep master weights, and gets the others' weights. Sums have one
// order whatever the number of ranks, so that all settings but a narrower wire give the same bits. Source of ZeRO:
// Rajbhandari et al. 2020 (arXiv 1910.02054), section 5.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "gradus/autograd/tape.h"
#include "gradus/optim/adamw.h"
#include "gradus/optim/gradient_buckets.h"
#include "gradus/optim/gradients.h"
#include "gradus/run/ranks.h"

namespace gradus::run {

struct GradientExchangeConfig {
  // With ZeRO each rank keeps only its pieces of Parameter::master from now on, also beyond the exchange, and values
  // travel instead: half the bytes. Not for parameters whose masters others read: run::whole_weights puts them
  // together.
  bool cut_masters = false;
};

class GradientExchange {
 public:
  // Both outlive the object. The parameters' gradients become views of buckets; with ZeRO the optimiser takes this
  // rank's pieces.
  GradientExchange(optim::AdamW& optimiser, Ranks& ranks, const GradientExchangeConfig& config = {});
  // A step that an exception ended ends on all ranks: what the communication thread has in hand uses this object.
  ~GradientExchange();
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  // A step: begin, backward passes of each shard with hooks(), add_shard between two shards, finish.
  void begin();
  const autograd::GradientHooks& hooks(bool last_of_rank) const { return last_of_rank ? last_hooks_ : hooks_; }
  void add_shard();
  // Makes the parameter's gradient where ZeRO 2 has given it back: for one that does not come from a backward pass.
  void prepare(autograd::Parameter& p);
  void finish();  // returns when all gradients are summed over all ranks

  // Of the summed gradients, the same on every rank.
  double norm();
  double small_share(DType format);

  void update(double learning_rate, double grad_scale);

  // Moments as if they were not cut: one of a parameter's shape for each, on every rank. Collective.
  std::vector<Tensor> whole(std::span<const Tensor> moments);
  int64_t optimiser_bytes() const;  // of moments and masters on this rank
  // This rank's pieces of such moments.
  void take_moments(std::span<const Tensor> first, std::span<const Tensor> second);

 private:
  void complete(size_t parameter);
  void post(size_t bucket);
  void reduce(comm::Group& group, size_t bucket);
  void keep_slice(size_t bucket);
  void all_gather(std::vector<Tensor>& tensors);
  bool cut() const { return ranks_.config().zero > 0; }
  bool cut_masters() const { return cut() && config_.cut_masters; }
  Tensor gradient_of(size_t piece) const;

  optim::AdamW& optimiser_;
  Ranks& ranks_;
  GradientExchangeConfig config_;
  optim::GradientBuckets buckets_;
  optim::ShardTree tree_;
  std::unordered_map<const autograd::Parameter*, size_t> index_;
  autograd::GradientHooks hooks_, last_hooks_;
  std::vector<bool> is_complete_;        // of each parameter, in this step
  std::vector<size_t> missing_;          // parameters of each bucket that are not
  size_t next_ = 0;                      // bucket to be posted
  bool backward_goes_on_ = false;        // so that another thread may as well reduce it
  std::vector<Tensor> slices_;           // ZeRO 2: this rank's part of each bucket
  std::vector<Tensor> piece_gradients_;  // with ZeRO
  std::vector<Tensor> wire_;             // narrower gradients of each bucket
};

}  // namespace gradus::run
