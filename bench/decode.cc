// `gradus bench decode`: reading a prompt, writing token by token, and what a forward pass of few rows costs.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "bench/alternation.h"
#include "bench/bench.h"
#include "bench/flops.h"
#include "bench/peak_loops.h"
#include "bench/read_memory.h"
#include "gradus/core/rng.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/isa.h"
#include "gradus/lm/forward_pass.h"
#include "gradus/lm/model.h"

namespace gradus::bench {

namespace {

constexpr int64_t kPrompt = 512, kGenerated = 128;
constexpr int64_t kPiece = 16;  // tokens that are generated behind a reading of memory
constexpr int64_t kCurveRows[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
constexpr int64_t kPositions = 1024;  // of models that are made here

struct NamedShape {
  const char* name;
  const char* model;
  nn::TransformerConfig config;
};
// config.json of the published models.
const NamedShape kShapes[] = {
    {"135m",
     "SmolLM2-135M",
     {.layers = 30,
      .width = 576,
      .heads = 9,
      .kv_heads = 3,
      .ffn_width = 1536,
      .n_vocab = 49152,
      .max_positions = kPositions,
      .rope_theta = 1e5,
      .norm_eps = 1e-5}},
    {"360m",
     "SmolLM2-360M",
     {.layers = 32,
      .width = 960,
      .heads = 15,
      .kv_heads = 5,
      .ffn_width = 2560,
      .n_vocab = 49152,
      .max_positions = kPositions,
      .rope_theta = 1e5,
      .norm_eps = 1e-5}},
    {"500m",
     "Qwen2.5-0.5B",
     {.layers = 24,
      .width = 896,
      .heads = 14,
      .kv_heads = 2,
      .ffn_width = 4864,
      .n_vocab = 151936,
      .max_positions = kPositions,
      .rope_theta = 1e6,
      .qkv_bias = true}},
};

const NamedShape& find_shape(const std::string& name) {
  for (const NamedShape& s : kShapes) {
    if (name == s.name) return s;
  }
  fail(ErrorCode::invalid_argument, "bench decode: shape '{}' is not known; take 135m, 360m or 500m", name);
}

// Weights that keep activations of ordinary size: what is timed must not be infinities or subnormals. A few normal
// numbers, over and over: drawing all of them would take longer than what is measured.
void randomise(nn::Transformer& model) {
  constexpr size_t kDrawn = 65521;  // a prime, so that no column repeats
  std::vector<float> drawn(kDrawn);
  Rng rng(1, Purpose::test, 0);
  for (float& x : drawn) x = static_cast<float>(rng.normal());
  size_t at = 0;
  for (nn::Parameter* p : model.parameters()) {
    const bool is_matrix = p->value.rank() == 2;
    const auto std_dev = static_cast<float>(is_matrix ? 1 / std::sqrt(static_cast<double>(p->value.dim(1))) : 0.1);
    const float mean = is_matrix || p->name.ends_with(".bias") ? 0.0f : 1.0f;
    Tensor weights = Tensor::empty(p->value.shape());
    for (float& x : weights.span<float>()) {
      x = mean + std_dev * drawn[at];
      if (++at == kDrawn) at = 0;
    }
    kernels::convert(weights, p->weights());
    p->changed();
  }
  model.drop_master_weights();
}

// A model to be measured: of a folder, or made here.
class Subject {
 public:
  explicit Subject(const DecodeOptions& options) {
    const nn::Precision precision = nn::precision_from_name(options.precision);
    if (options.model) {
      loaded_ = lm::load(*options.model, precision);
      loaded_->transformer().drop_master_weights();
      name_ = options.model->filename().empty() ? options.model->string() : options.model->filename().string();
      return;
    }
    const NamedShape& shape = find_shape(options.shape);
    name_ = shape.model;
    // bf16_pure has the same forward pass and no copy of its weights in f32.
    made_ = std::make_unique<nn::Transformer>(shape.config,
                                              precision == nn::Precision::bf16 ? nn::Precision::bf16_pure : precision);
    randomise(*made_);
  }

  nn::Transformer& transformer() { return loaded_ ? loaded_->transformer() : *made_; }
  const std::string& name() const { return name_; }

  // Bytes of weights that a pass over one row reads.
  double bytes() {
    double sum = 0;
    for (const nn::Parameter* p : transformer().parameters()) sum += static_cast<double>(p->value.bytes());
    if (!transformer().config().tie_embeddings) {
      sum -= static_cast<double>(transformer().parameters().front()->value.bytes());  // a row of the input table
    }
    return sum;
  }

 private:
  std::optional<lm::Model> loaded_;
  std::unique_ptr<nn::Transformer> made_;
  std::string name_;
};

std::vector<int32_t> random_tokens(int64_t n, int64_t n_vocab) {
  Rng rng(1, Purpose::test, 1);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<int32_t>(rng.below(n_vocab)));
  return tokens;
}

// Mean of n_tokens / seconds over the rounds, and the deviation of the sample.
struct Rate {
  double mean = 0, deviation = 0;
};
Rate rate_of(const std::vector<double>& seconds, int64_t n_tokens) {
  std::vector<double> rates;
  for (const double s : seconds) rates.push_back(static_cast<double>(n_tokens) / s);
  const auto n = static_cast<double>(rates.size());
  Rate r;
  r.mean = std::accumulate(rates.begin(), rates.end(), 0.0) / n;
  double squares = 0;
  for (const double x : rates) squares += (x - r.mean) * (x - r.mean);
  if (rates.size() > 1) r.deviation = std::sqrt(squares / (n - 1));
  return r;
}

}  // namespace

const std::vector<std::string>& decode_shapes() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const NamedShape& s : kShapes) all.emplace_back(s.name);
    return all;
  }();
  return names;
}

void decode(const DecodeOptions& options, const Sink& sink) {
  Subject subject(options);
  nn::Transformer& model = subject.transformer();
  const nn::TransformerConfig& config = model.config();
  const int64_t most = std::max(kPrompt, kCurveContext + kCurveRows[std::size(kCurveRows) - 1]);
  require(config.max_positions >= most, "bench decode: {} has {} positions, but {} are needed", subject.name(),
          config.max_positions, most);
  const std::vector<int32_t> ids = random_tokens(kPrompt, config.n_vocab);
  const std::span<const int32_t> tokens(ids);
  lm::ForwardPass pass(model, most);

  Alternation rounds;
  ReadMemory memory(rounds);
  const PeakLoops peak(rounds, model.precision().matrices);
  const auto prompt = rounds.add([&] {
    pass.move_to(0);
    pass.read(tokens, lm::ForwardPass::Logits::of_last);
  });
  std::vector<Alternation::Id> generation;
  for (int64_t begin = 0; begin < kGenerated; begin += kPiece) {
    memory.again();
    generation.push_back(rounds.add([&, begin] {
      pass.move_to(begin);
      for (const int32_t& token : tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(kPiece)))
        pass.read({&token, 1}, lm::ForwardPass::Logits::of_last);
    }));
  }
  std::array<Alternation::Id, std::size(kCurveRows)> curve{};
  for (size_t i = 0; i < curve.size(); ++i) {
    curve[i] = rounds.add([&, rows = static_cast<size_t>(kCurveRows[i])] {
      pass.move_to(kCurveContext);
      pass.read(tokens.first(rows), lm::ForwardPass::Logits::of_all);
    });
  }
  rounds.run(options.rounds);

  const auto row = [&](const char* test) {
    return Row{{"model", subject.name()},
               {"test", test},
               {"precision", options.precision},
               {"isa", std::string(name(kernels::active_isa()))},
               {"threads", int64_t{pool().size()}}};
  };
  const auto with_rate = [&](Row r, const Rate& rate) {
    r.emplace_back("tokens_per_s", rate.mean);
    r.emplace_back("deviation", rate.deviation);
    return r;
  };
  ForwardWork work;
  work.add_rows(0, kPrompt);
  work.head_rows = 1;
  const std::vector<double> generation_s = rounds.sum_s(generation);
  const Rate read = rate_of(rounds.all_s(prompt), kPrompt), written = rate_of(generation_s, kGenerated);
  const double gflops = forward_flops(config, work) * read.mean / kPrompt * 1e-9;
  Row pp = with_rate(row("pp512"), read);
  pp.insert(pp.end(), {{"gflops", gflops}, {"peak_gflops", peak.gflops()}, {"share_of_peak", gflops / peak.gflops()}});
  sink(pp);
  const std::vector<double> bandwidths = memory.gb_per_s_of_rounds();
  std::vector<double> gb_per_s, shares;
  for (size_t round = 0; round < bandwidths.size(); ++round) {
    gb_per_s.push_back(subject.bytes() * kGenerated / generation_s[round] * 1e-9);
    shares.push_back(gb_per_s.back() / bandwidths[round]);
  }
  Row tg = with_rate(row("tg128"), written);
  tg.insert(tg.end(), {{"gb_per_s", median(gb_per_s)},
                       {"bandwidth_gb_per_s", memory.gb_per_s()},
                       {"share_of_bandwidth", median(shares)}});
  sink(tg);
  const double one = rounds.median_s(curve[0]);
  for (size_t i = 0; i < curve.size(); ++i) {
    const double seconds = rounds.median_s(curve[i]);
    Row r = row("rows");
    r.insert(r.end(), {{"rows", kCurveRows[i]},
                       {"ms", seconds * 1e3},
                       {"ratio", seconds / one},
                       {"share_of_bandwidth", subject.bytes() / seconds * 1e-9 / memory.gb_per_s()}});
    sink(r);
  }
}

}  // namespace gradus::bench
