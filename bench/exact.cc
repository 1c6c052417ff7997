// `gradus bench exact`: small random models, sampled with the KV cache and recomputed as training computes, in every
// way that must not matter.
#include <algorithm>
#include <cstring>

#include "bench/bench.h"
#include "bench/exact_check.h"
#include "bench/exact_run.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/gemm.h"
#include "gradus/kernels/isa.h"

namespace gradus::bench {

namespace {

using kernels::GemmBackend;
using kernels::Isa;

struct ModelCase {
  const char* name;
  nn::TransformerConfig config;
};
const ModelCase kModels[] = {
    {"d64x2", {.layers = 2, .width = 64, .heads = 4, .max_positions = 256}},
    {"d96x2gq",
     {.layers = 2,
      .width = 96,
      .heads = 6,
      .kv_heads = 2,
      .head_size = 16,
      .max_positions = 256,
      .qkv_bias = true,
      .tie_embeddings = false}},
    {"d64x3qn",  // as Qwen3: normalised heads, YaRN, windows in some layers
     {.layers = 3,
      .width = 64,
      .heads = 4,
      .kv_heads = 2,
      .head_size = 32,
      .max_positions = 256,
      .rope_theta = 1e6,
      .rope_scaling = {.type = kernels::RopeType::yarn, .factor = 4, .original_positions = 64},
      .qk_norm = true,
      .window = 70,
      .windowed_layers = {true, false, true}}},
    {"d64x2w",  // as Mistral, with Llama's biases and rotation
     {.layers = 2,
      .width = 64,
      .heads = 4,
      .kv_heads = 2,
      .max_positions = 256,
      .qkv_bias = true,
      .tie_embeddings = false,
      .rope_scaling = {.type = kernels::RopeType::llama3, .factor = 8, .original_positions = 32},
      .o_bias = true,
      .mlp_bias = true,
      .window = 33}},
};

// Prompt lengths around the key blocks of 64 and the products' row tiles; answers run over the next block's edge.
constexpr int64_t kPromptLengths[] = {1,  2,  3,  7,   12,  16,  31,  33,  48,  60,  63,  64,
                                      65, 66, 90, 100, 120, 126, 127, 128, 129, 150, 180, 191};
constexpr int64_t kMaxTokens = 48;

struct Setting {
  int threads;
  int64_t max_batch, prefill_rows;  // of the sampler
  int64_t max_rows;                 // of the trainer's packing
  double temperature = 1.0;         // 0 = greedy, recorded at temperature 1
  GemmBackend backend = GemmBackend::automatic;
};
constexpr Setting kSettings[] = {
    {1, 1, 1, 1},
    {1, 64, 4096, 4096},
    {2, 7, 100, 300},
    {2, 64, 4096, 4096, 1.0, GemmBackend::highway},
    {3, 64, 500, 4096, 1.0, GemmBackend::onednn},
    {2, 5, 200, 4096, 1.0, GemmBackend::streamed},
    {3, 3, 4096, 1000},
    {1, 5, 4096, 4096, 0.7},
    {3, 64, 200, 700, 0.7},
    {2, 64, 4096, 4096, 0.0},
    {3, 2, 4096, 1, 0.0},
};
constexpr Setting kReferenceSettings[] = {{2, 7, 100, 300}, {1, 64, 4096, 4096}};  // the scalar reference is slow

std::span<const Setting> settings_for(Isa isa) {
  if (isa == Isa::ref) return kReferenceSettings;
  return kSettings;
}

// Gains and biases that do something, and a head that is unsure: where one token is certain, log-probabilities round to
// 0 whatever the weights, and nothing would be seen.
lm::Model make_model(const ModelCase& c, nn::Precision precision) {
  lm::Model model = lm::Model::create(c.config, lm::character_tokenizer("0123456789abcdef", "$"), 1, precision);
  uint64_t index = 0;
  for (autograd::Parameter* p : model.transformer().parameters()) {
    Rng rng(2, Purpose::test, ++index);
    const bool is_head = p == &model.transformer().head();
    Tensor weights = kernels::converted(p->weights(), DType::f32).clone();
    for (float& x : weights.span<float>()) {
      if (p->value.rank() == 1) x += 0.2f * (rng.uniform_f32() - 0.5f);
      if (is_head) x *= 0.1f;
    }
    kernels::convert(weights, p->weights());
    p->changed();
  }
  return model;
}

struct Prompts {
  std::vector<std::vector<int32_t>> tokens;
  std::vector<lm::SampleRequest> requests;

  explicit Prompts(int64_t n_vocab) {
    for (const int64_t length : kPromptLengths) {
      Rng rng(3, Purpose::test, static_cast<uint64_t>(length));
      std::vector<int32_t> prompt;
      for (int64_t t = 0; t < length; ++t)
        prompt.push_back(static_cast<int32_t>(rng.below(n_vocab - 2)));  // no special ids
      tokens.push_back(std::move(prompt));
    }
    for (size_t i = 0; i < tokens.size(); ++i) requests.push_back({tokens[i], i});
  }
};

bool same_bits(std::span<const posttrain::Rollout> a, std::span<const posttrain::Rollout> b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].tokens != b[i].tokens || a[i].log_probs.size() != b[i].log_probs.size()) return false;
    if (std::memcmp(a[i].log_probs.data(), b[i].log_probs.data(), a[i].log_probs.size() * sizeof(float)) != 0)
      return false;
  }
  return true;
}

void check_model(const ModelCase& c, Isa isa, nn::Precision precision, const Sink& sink, ExactTotals& totals) {
  lm::Model model = make_model(c, precision);
  const Prompts prompts(model.config().n_vocab);
  ExactTotals own;
  int64_t tokens = 0;
  std::vector<std::pair<double, std::vector<posttrain::Rollout>>> first;  // of each temperature
  for (const Setting& s : settings_for(isa)) {
    set_pool_threads(s.threads);
    kernels::set_gemm_backend(s.backend);
    auto rollouts = sample_rollouts(model, prompts.requests,
                                    {.max_batch = s.max_batch,
                                     .max_tokens = kMaxTokens,
                                     .prefill_rows = s.prefill_rows,
                                     .temperature = s.temperature,
                                     .seed = 1});
    const double trained_at = s.temperature > 0 ? s.temperature : 1.0;
    own.add_mismatch(posttrain::mismatch_max(model, rollouts, trained_at, s.max_rows));
    if (first.empty()) own.add_control(control_one_ulp(model, rollouts, trained_at, s.max_rows));
    tokens += response_tokens(rollouts);
    const auto same_temperature = [&](const auto& f) { return f.first == s.temperature; };
    const auto found = std::find_if(first.begin(), first.end(), same_temperature);
    if (found == first.end()) {
      first.emplace_back(s.temperature, std::move(rollouts));
    } else {
      own.samples_equal = own.samples_equal && same_bits(found->second, rollouts);
    }
  }
  sink({{"model", c.name},
        {"isa", std::string(name(isa))},
        {"precision", std::string(nn::name(precision))},
        {"settings", static_cast<int64_t>(settings_for(isa).size())},
        {"tokens", tokens},
        {"mismatch_max", own.mismatch_max},
        {"samples_equal", own.samples_equal},
        {"control_one_ulp", own.control_min}});
  totals.add_mismatch(own.mismatch_max);
  totals.add_control(own.control_min);
  totals.samples_equal = totals.samples_equal && own.samples_equal;
}

// Threads, backend and instruction set as they were found.
class Restore {
 public:
  Restore() = default;
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;
  ~Restore() {
    kernels::set_isa(isa_);
    kernels::set_gemm_backend(backend_);
    set_pool_threads(threads_);
  }

 private:
  Isa isa_ = kernels::active_isa();
  GemmBackend backend_ = kernels::gemm_backend();
  int threads_ = pool().size();
};

Isa find_isa(const std::string& wanted) {
  const std::optional<Isa> isa = kernels::isa_from_name(wanted);
  require(isa.has_value(),
          "bench exact: instruction set '{}' is not known; take ref, sse4, avx2, avx512, avx512bf16 or neon", wanted);
  return *isa;
}

// The one asked for, else the one that the run was made with, where the machine has it.
void choose_isa_for_run(const ExactOptions& options) {
  const std::optional<Isa> recorded = kernels::isa_from_name(recorded_isa(*options.run));
  if (options.isa) return kernels::set_isa(find_isa(*options.isa));
  for (const Isa isa : kernels::supported_isas()) {
    if (isa == recorded) kernels::set_isa(isa);
  }
}

}  // namespace

bool exact(const ExactOptions& options, const Sink& sink) {
  const Restore restore;
  ExactTotals totals;
  std::string isas;
  if (options.run) {
    choose_isa_for_run(options);
    isas = name(kernels::active_isa());
    exact_run(*options.run, sink, totals);
  } else {
    for (const Isa isa : kernels::supported_isas()) {
      if (options.isa && isa != find_isa(*options.isa)) continue;
      kernels::set_isa(isa);
      if (!isas.empty()) isas += ',';
      isas += name(isa);
      for (const nn::PrecisionFormats& f : nn::kPrecisions) {
        if (f.precision == nn::Precision::fp64 && isa != Isa::ref) continue;  // runs on the references everywhere
        for (const ModelCase& c : kModels) check_model(c, isa, f.precision, sink, totals);
      }
    }
    if (isas.empty()) kernels::set_isa(find_isa(*options.isa));  // throws: this machine lacks it
  }
  Row last = {{"isa", isas}, {"mismatch_max", totals.mismatch_max}};
  if (!options.run) last.emplace_back("samples_equal", totals.samples_equal);
  last.emplace_back("control_one_ulp", totals.control_min);
  last.emplace_back("ok", totals.ok());
  sink(last);
  return totals.ok();
}

}  // namespace gradus::bench
