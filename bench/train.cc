// `gradus bench train`: one whole update as supervised fine-tuning makes it (packed forward, backward, clipping,
// AdamW), the forward alone as training records it, and sampling with 256 sequences at once. How FLOPs are counted:
// flops.h.
#include <algorithm>

#include "bench/alternation.h"
#include "bench/bench.h"
#include "bench/flops.h"
#include "bench/peak_loops.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/isa.h"
#include "gradus/lm/sampler.h"
#include "gradus/posttrain/likelihood.h"
#include "gradus/posttrain/sft.h"
#include "gradus/posttrain/tasks/chain.h"
#include "gradus/run/train_step.h"

namespace gradus::bench {

namespace {

// Like long answers of the task `chain`: 64 to 96 tokens, of which the problem is 16.
constexpr int64_t kShortest = 64, kLongest = 96, kPromptTokens = 16;
constexpr int64_t kSampledSequences = 256, kSampledTokens = 64;
constexpr const char* kSampledModel = "d128x4";

// A byte model on windows of text, the others on answers of `chain`.
constexpr const char* kTextModel = "d512x8";
constexpr int64_t kWindow = 512, kWindows = 8;

nn::TransformerConfig config_of(const std::string& model) {
  if (model == "d128x4") return {.layers = 4, .width = 128, .heads = 4, .max_positions = 512};
  if (model == "d512x4") return {.layers = 4, .width = 512, .heads = 8, .max_positions = 512};
  if (model == kTextModel) return {.layers = 8, .width = 512, .heads = 8, .max_positions = 512};
  fail(ErrorCode::invalid_argument, "bench train: model '{}' is not known; take d128x4, d512x4 or d512x8", model);
}

lm::Model make_model(const std::string& model, nn::Precision precision) {
  const posttrain::Chain task;
  lm::Tokenizer tokenizer =
      model == kTextModel ? lm::byte_tokenizer() : lm::character_tokenizer(task.alphabet(), task.end_of_text());
  return lm::Model::create(config_of(model), std::move(tokenizer), 1, precision);
}

std::vector<int32_t> random_tokens(int64_t n, int64_t n_vocab, uint64_t index) {
  Rng rng(1, Purpose::test, index);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<int32_t>(rng.below(n_vocab)));
  return tokens;
}

// A model, a batch for it, and what makes an update: what posttrain::Sft sets up, on random tokens.
class Workload {
 public:
  Workload(const std::string& model, nn::Precision precision, int64_t sequences, int64_t max_rows)
      : model_(make_model(model, precision)),
        optimiser_(model_.transformer().parameters(), {.weight_decay = posttrain::SftConfig{}.weight_decay}),
        step_(optimiser_, {.clip_norm = posttrain::SftConfig{}.clip_norm},
              precision == nn::Precision::fp16 ? &scaler_ : nullptr),
        likelihood_(model_.transformer(), 1.0, max_rows) {
    model_.transformer().allocate_gradients();
    const bool text = model == kTextModel;
    const int64_t prompt = text ? 1 : kPromptTokens;
    for (int64_t i = 0; i < (text ? kWindows : sequences); ++i) {
      const int64_t length =
          text ? kWindow + 1 : kShortest + i * (kLongest - kShortest) / std::max<int64_t>(1, sequences - 1);
      tokens_.push_back(random_tokens(length, model_.config().n_vocab, static_cast<uint64_t>(i)));
      work_.add_rows(0, length - 1);  // the last token is only predicted
      work_.head_rows += length - prompt;
      n_tokens_ += text ? length - 1 : length;
    }
    for (const auto& t : tokens_) sequences_.push_back({t, prompt});
  }

  void update() {
    step_.run(0, 1e-4, [&](int64_t, const auto& backward) { likelihood_.run(sequences_, weigh(), backward); });
  }
  void forward() {
    likelihood_.run(sequences_, weigh(), [](nn::Var, bool) {});
  }

  int64_t n_tokens() const { return n_tokens_; }
  double flops() const { return forward_flops(model_.config(), work_); }  // of the forward

 private:
  posttrain::PackedLikelihood::Weigh weigh() const {
    return [w = 1.0 / static_cast<double>(work_.head_rows)](size_t, std::span<const float>) { return w; };
  }

  lm::Model model_;
  optim::AdamW optimiser_;
  optim::LossScaler scaler_{optim::LossScalerConfig::automatic()};
  run::TrainStep step_;
  posttrain::PackedLikelihood likelihood_;
  std::vector<std::vector<int32_t>> tokens_;
  std::vector<posttrain::TrainSequence> sequences_;
  ForwardWork work_;
  int64_t n_tokens_ = 0;
};

// So that every answer has the same length: the residual stream gets a large first component from any token, and the
// tied head reads it with a sign that raises all tokens alike but lowers the end token out of reach.
void suppress_end_token(lm::Model& model) {
  autograd::Parameter& embedding = model.transformer().head();
  GRADUS_CHECK(model.config().tie_embeddings);
  Tensor weights = kernels::converted(embedding.weights(), DType::f32).clone();
  for (int64_t id = 0; id < model.config().n_vocab; ++id) {
    weights.data<float>()[id * model.config().width] = id == model.tokenizer().eos_id() ? -4.0f : 4.0f;
  }
  kernels::convert(weights, embedding.weights());
  embedding.changed();
}

class Sampling {
 public:
  Sampling(const std::string& model, nn::Precision precision) : model_(make_model(model, precision)) {
    suppress_end_token(model_);
    for (int64_t i = 0; i < kSampledSequences; ++i) {
      prompts_.push_back(random_tokens(kPromptTokens, model_.tokenizer().eos_id(), static_cast<uint64_t>(i)));
    }
    for (size_t i = 0; i < prompts_.size(); ++i) requests_.push_back({prompts_[i], i});
    ForwardWork one;
    one.add_rows(0, kPromptTokens + kSampledTokens - 1);  // the last token is drawn, not read
    one.head_rows = kSampledTokens;
    flops_ = static_cast<double>(kSampledSequences) * forward_flops(model_.config(), one);
  }

  void sample() {
    lm::Sampler sampler(model_, {.max_batch = kSampledSequences, .max_tokens = kSampledTokens, .seed = 1});
    sampler.generate(requests_);
    GRADUS_CHECK(sampler.stats().response_tokens == n_tokens());
  }

  static int64_t n_tokens() { return kSampledSequences * kSampledTokens; }
  double flops() const { return flops_; }

 private:
  lm::Model model_;
  std::vector<std::vector<int32_t>> prompts_;
  std::vector<lm::SampleRequest> requests_;
  double flops_ = 0;
};

struct Measured {
  const char* what;
  double flops;
  int64_t n_tokens;
  double seconds;
  double gflops() const { return flops / seconds * 1e-9; }
};

void bench_model(const std::string& model, nn::Precision precision, const TrainOptions& options, const Sink& sink) {
  const int64_t max_rows = options.max_rows > 0 ? options.max_rows : posttrain::SftConfig{}.max_rows;
  Alternation rounds;
  PeakLoops peak(rounds, nn::formats(precision).matrices);
  Workload work(model, precision, options.sequences, max_rows);
  std::optional<Sampling> sampling;
  const auto update = rounds.add([&] { work.update(); });
  const auto forward = rounds.add([&] { work.forward(); });
  Alternation::Id sample = 0;
  if (options.with_sampling && model == kSampledModel) {
    sampling.emplace(model, precision);
    sample = rounds.add([&] { sampling->sample(); });
  }
  rounds.run(options.rounds);

  const Measured forward_measured{"forward", work.flops(), work.n_tokens(), rounds.median_s(forward)};
  const auto emit = [&](const Measured& m) {
    sink({{"model", model},
          {"what", m.what},
          {"precision", std::string(nn::name(precision))},
          {"isa", std::string(name(kernels::active_isa()))},
          {"threads", int64_t{pool().size()}},
          {"max_rows", max_rows},
          {"ms", m.seconds * 1e3},
          {"tokens_per_s", static_cast<double>(m.n_tokens) / m.seconds},
          {"gflops", m.gflops()},
          {"peak_gflops", peak.gflops()},
          {"share_of_peak", m.gflops() / peak.gflops()},
          {"vs_forward", m.gflops() / forward_measured.gflops()}});
  };
  emit({"train_step", 3 * work.flops(), work.n_tokens(), rounds.median_s(update)});
  emit(forward_measured);
  if (sampling) emit({"sample", sampling->flops(), Sampling::n_tokens(), rounds.median_s(sample)});
}

}  // namespace

void train(const TrainOptions& options, const Sink& sink) {
  require(options.sequences >= 1 && options.max_rows >= 0,
          "bench train: sequences {} must be at least 1 and max_rows {} at least 0", options.sequences,
          options.max_rows);
  for (const std::string& model : options.models) config_of(model);
  for (const std::string& p : options.precisions) nn::precision_from_name(p);
  for (const std::string& model : options.models) {
    for (const std::string& p : options.precisions) bench_model(model, nn::precision_from_name(p), options, sink);
  }
}

}  // namespace gradus::bench
