// gradus bench peak|gemm|attention|train|decode|exact|textbook|rl|motivation|env|allreduce: measures what training
// runs, beside the machine's own limits.
#include "bench/bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/gradus/command.h"
#include "apps/gradus/job.h"
#include "gradus/comm/environment.h"
#include "gradus/comm/monitor.h"
#include "gradus/core/error.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/isa.h"

namespace gradus::app {

namespace {

// For CLI11: what is wrong with the name of an instruction set, or "".
std::string isa_name(const std::string& text) {
  if (kernels::isa_from_name(text)) return "";
  return fmt::format("'{}' is not ref, sse4, avx2, avx512, avx512bf16 or neon", text);
}

// Options that all of them have.
struct Common {
  bool json = false;
  int threads = 0;
  std::string isa;

  void declare(CLI::App& command) {
    command.add_flag("--json", json, "one JSON object per row");
    command.add_option("--threads", threads, "compute threads; 0 = all cores")->check(CLI::Range(0, 256));
  }
  void declare_isa(CLI::App& command) {
    command
        .add_option("--isa", isa, "instruction set of our kernels and of oneDNN: sse4, avx2, avx512, avx512bf16, neon")
        ->check(isa_name);
  }

  void apply() const {
    if (!isa.empty()) {
      // The environment, and before anything else asks: oneDNN takes its limit once.
      ::setenv("GRADUS_ISA", isa.c_str(), 1);
      GRADUS_CHECK(name(kernels::active_isa()) == isa);
    }
    if (threads > 0) set_pool_threads(threads);
  }
};

std::string to_text(const bench::Value& value) {
  if (const bool* b = std::get_if<bool>(&value)) return *b ? "yes" : "no";
  if (const int64_t* i = std::get_if<int64_t>(&value)) return fmt::format("{}", *i);
  if (const double* d = std::get_if<double>(&value)) return fmt::format("{:.4g}", *d);
  return std::get<std::string>(value);
}

std::vector<std::string> words_of(const std::string& key) {
  std::vector<std::string> words = {""};
  for (const char c : key) {
    if (c == '_') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

// Writes each row when it comes: as JSON, or as a line under a header that is repeated when the columns change.
class RowWriter {
 public:
  RowWriter(Output& out, bool json) : out_(out), json_(json) {}

  void operator()(const bench::Row& row) {
    if (json_) {
      nlohmann::ordered_json object;
      for (const auto& [key, value] : row) std::visit([&, &k = key](const auto& v) { object[k] = v; }, value);
      return out_.json_line(object);
    }
    std::vector<std::string> keys;
    for (const auto& [key, value] : row) keys.push_back(key);
    if (keys != keys_) {
      out_.text((keys_.empty() ? "" : "\n") + header(row));
      keys_ = keys;
    }
    std::string line;
    for (const auto& [key, value] : row) line += cell(to_text(value), key, value);
    out_.text(line + '\n');
  }

 private:
  // The words of a key stand above each other, so that columns stay narrow.
  static std::string header(const bench::Row& row) {
    size_t height = 0;
    for (const auto& [key, value] : row) height = std::max(height, words_of(key).size());
    std::string text;
    for (size_t line = 0; line < height; ++line) {
      for (const auto& [key, value] : row) {
        const std::vector<std::string> words = words_of(key);
        const size_t skipped = height - words.size();
        text += cell(line < skipped ? "" : words[line - skipped], key, value);
      }
      text += '\n';
    }
    return text;
  }

  // Texts stand left, numbers right.
  static std::string cell(const std::string& text, const std::string& key, const bench::Value& value) {
    size_t width = std::holds_alternative<std::string>(value) ? std::get<std::string>(value).size() : 0;
    for (const std::string& word : words_of(key)) width = std::max(width, word.size());
    if (std::holds_alternative<std::string>(value)) return fmt::format("{:<{}}  ", text, std::max<size_t>(width, 13));
    return fmt::format("{:>{}}  ", text, std::max<size_t>(width, 6));
  }

  Output& out_;
  bool json_;
  std::vector<std::string> keys_;
};

template <class BenchOptions>
struct Options {
  Common common;
  BenchOptions bench;
};
using PeakOptions = Options<bench::PeakOptions>;
using GemmOptions = Options<bench::GemmOptions>;
struct AttentionOptions : Options<bench::AttentionOptions> {
  std::optional<std::string> pictures;
};
using TrainOptions = Options<bench::TrainOptions>;
struct DecodeOptions : Options<bench::DecodeOptions> {
  std::optional<std::string> model;
};
struct DraftingOptions : Options<bench::DraftingOptions> {
  std::string model, data, draft_model;
};
using ExactOptions = Options<bench::ExactOptions>;
using TextbookOptions = Options<bench::TextbookOptions>;
using RlOptions = Options<bench::RlOptions>;
struct MotivationOptions : Options<bench::MotivationOptions> {
  std::optional<std::string> pictures;
};
using EnvOptions = Options<bench::EnvOptions>;

struct AllreduceOptions {
  bool json = false;
  std::vector<std::string> bytes;
  bench::SimulateOptions bench;
  std::optional<int> ranks;
  std::optional<std::string> transport;
  std::optional<std::string> tune, pictures, peers;
  bool simulate = false, validate = false, trace = false;
};

template <class O>
void declare_timed(CLI::App& command, O& o) {
  o.common.declare(command);
  o.common.declare_isa(command);
  command.add_option("--rounds", o.bench.rounds, "measurements of each figure; the median is shown")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
}

void declare_peak(CLI::App& command, PeakOptions& o) {
  declare_timed(command, o);
}
void declare_gemm(CLI::App& command, GemmOptions& o) {
  declare_timed(command, o);
}

void declare_attention(CLI::App& command, AttentionOptions& o) {
  declare_timed(command, o);
  CLI::Option* lengths = command.add_option("--lengths", o.bench.lengths, "tokens per sequence");
  lengths->check(CLI::Range(int64_t{1}, bench::kLongestAttention))->capture_default_str();
  const std::map<std::string, DType> dtypes = {{"f32", DType::f32}, {"bf16", DType::bf16}, {"f16", DType::f16}};
  CLI::Option* dtype = command.add_option("--dtype", o.bench.dtypes, "f32, bf16, f16; default: f32 and bf16");
  dtype->transform(CLI::CheckedTransformer(dtypes));
  command.add_option("--pictures", o.pictures, "instead: draw time, memory and bytes moved, 128 to 8192 tokens, here")
      ->check(CLI::ExistingDirectory)
      ->excludes(lengths, dtype);
  command.footer(R"(FLOPs: 4 heads N^2 head_dim, half when causal; a backward counts 2.5 forwards. Errors: of one head,
against the scalar reference in double. naive: the textbook's way with f32 matrix products, rounded
to the dtype after each, and whole N x N matrices, whose bytes for one head are shown. Sequences of
more than 16384 tokens run without both: errors and naive_time_us are 0.)");
}

void declare_train(CLI::App& command, TrainOptions& o) {
  declare_timed(command, o);
  command.add_option("--model", o.bench.models, "d128x4, d512x4, d512x8; default: all")
      ->check(CLI::IsMember({"d128x4", "d512x4", "d512x8"}));
  command.add_option("--precision", o.bench.precisions, "fp64, fp32, bf16, fp16, bf16-pure")->capture_default_str();
  command.add_option("--sequences", o.bench.sequences, "sequences per step, 64 to 96 tokens each")
      ->capture_default_str();
  command.add_option("--max-rows", o.bench.max_rows, "rows of a micro-batch; 0 = what training takes")
      ->capture_default_str();
  command.footer(R"(Rows: train_step (forward, backward, clipping, AdamW), forward (as training records it),
sample (256 sequences at once). FLOPs: 2 per multiply-add of the matrices, the head where it runs,
and causal attention; a backward counts as two forwards; recomputation, norms, activations and the
optimiser count nothing. vs_forward: the FLOP rate by that of the forward.)");
}

void declare_decode(CLI::App& command, DecodeOptions& o) {
  declare_timed(command, o);
  CLI::Option* model = command.add_option("--model", o.model, "a model's folder");
  command.add_option("--shape", o.bench.shape, "or random weights in the shape of a published model")
      ->check(CLI::IsMember(bench::decode_shapes()))
      ->excludes(model)
      ->capture_default_str();
  command.add_option("--precision", o.bench.precision, "fp32, bf16, fp16")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}))
      ->capture_default_str();
  command.footer(R"(pp512: a prompt of 512 tokens at once. tg128: 128 tokens one by one, from an empty cache. Random
tokens, one sequence, no tokenizer, no sampler; one repetition to warm up, then --rounds of them:
mean and deviation. FLOPs as in `bench train`; bytes are those of the weights. rows: a pass over so
many rows behind 128 tokens, with all their logits; ratio: to the pass of one row.)");
}

void declare_drafting(CLI::App& command, DraftingOptions& o) {
  declare_timed(command, o);
  command.add_option("RUN|MODEL", o.model, "with Medusa heads")->required();
  command.add_option("--data", o.data, "the text: what was held out of it is continued")->required();
  command.add_option("--draft-model", o.draft_model, "RUN|MODEL, smaller and of the same tokens: drafts, too");
  command.add_option("--precision", o.bench.precision, "fp32, bf16, fp16 [the model's own]")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}));
  command.add_option("--temperature", o.bench.temperatures, "0 = greedy")->check(at_least(0))->capture_default_str();
  command.add_option("--batch", o.bench.batches, "texts at once")->check(CLI::Range(1, 1024))->capture_default_str();
  command.add_option("--only", o.bench.only, "methods beside plain decoding, like 'dynamic tree and copies' [all]");
  command.add_option("--max-tokens", o.bench.max_tokens, "of each text")->check(at_least(1))->capture_default_str();
}

void declare_exact(CLI::App& command, ExactOptions& o) {
  o.common.declare(command);
  command.add_option("RUN", o.bench.run, "a run folder; without it, small models of its own");
  command
      .add_option("--isa", o.bench.isa,
                  "only this instruction set; default: all that the machine can run, or the run's")
      ->check(isa_name);
  command.footer(R"(Without RUN: samples with the KV cache and recomputes every token's log-probability with the packed
forward of training, over instruction sets, 1, 2 and 3 threads, batch sizes, packings, prompts of
several key blocks, temperatures and matrix backends; samples_equal: all of them drew the same.
With RUN: `recorded`, for each kept checkpoint, the log-probabilities stored for the iteration that
was sampled with its weights; `sampled`, every stored prompt, sampled again with the latest
checkpoint; both against the forward of training.
control_one_ulp moves one weight by one unit in the last place after sampling: it must not be 0.
The exit code is 1 unless every mismatch_max is 0 and every control is not.)");
}

void declare_textbook(CLI::App& command, TextbookOptions& o) {
  o.common.declare(command);
  command.add_option("--seeds", o.bench.seeds, "trainings of what is learned by sampling")
      ->check(CLI::Range(2, 10000))
      ->capture_default_str();
  command.footer(R"(A row per printed number: the book's, ours, their difference, and what is allowed: half a printed
digit for exact values, three standard errors for what is sampled. The exit code is 1 unless all pass.)");
}

void declare_rl(CLI::App& command, RlOptions& o) {
  o.common.declare(command);
  command.add_option("--rounds", o.bench.rounds, "measurements of each figure; the median is shown")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
}

void declare_motivation(CLI::App& command, MotivationOptions& o) {
  constexpr int64_t kMost = int64_t{1} << 40;
  o.common.declare(command);
  command.add_option("--pictures", o.pictures, "draw step-sizes.svg and binned-actions.svg here")
      ->check(CLI::ExistingDirectory);
  command.add_option("--seeds", o.bench.seeds, "trainings of each row")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  for (const auto& [name, steps] :
       {std::pair{"--cartpole-steps", &o.bench.cartpole_steps}, {"--pendulum-steps", &o.bench.pendulum_steps}}) {
    command.add_option(name, *steps, "steps of each training")
        ->check(CLI::Range(int64_t{1}, kMost))
        ->capture_default_str();
  }
}

void declare_env(CLI::App& command, EnvOptions& o) {
  o.common.declare(command);
  command.add_option("ENV", o.bench.name, "an environment or a program; default: all of `gradus list envs`");
  command.add_option("--steps", o.bench.steps, "steps of a measurement")
      ->check(CLI::Range(int64_t{256}, int64_t{1} << 40))
      ->capture_default_str();
  command.add_option("--rounds", o.bench.rounds, "measurements of each figure; the median is shown")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
}

// For CLI11: what parse() finds wrong with a word, or "".
template <class Parse>
CLI::Validator parses(Parse parse) {
  return CLI::Validator(
      [parse](std::string& word) -> std::string {
        try {
          parse(word);
          return "";
        } catch (const Error& e) {
          return e.what();
        }
      },
      "");
}

void declare_allreduce(CLI::App& command, AllreduceOptions& o) {
  bench::AllreduceOptions& b = o.bench.measured;
  command.add_flag("--json", o.json, "one JSON object per row");
  command
      .add_option("--transport", o.transport, "what the ranks send over; default: threads, or what fits a job's ranks")
      ->check(CLI::IsMember(bench::allreduce_transports()));
  command.add_option("--algorithm", b.algorithm, "a name; all; auto: what training takes")->capture_default_str();
  command
      .add_option_function<std::string>(
          "--operation", [&b](const std::string& word) { b.operation = comm::parse_operation(word); },
          "all_reduce, reduce_scatter, all_gather, broadcast, gather, all_to_all, barrier; default: all_reduce")
      ->check(parses([](const std::string& word) { comm::parse_operation(word); }));
  command.add_option("--ranks", o.ranks, "ranks on this machine; default: 2, or the job's")->check(CLI::Range(1, 64));
  const std::map<std::string, DType> dtypes = {{"f64", DType::f64}, {"f32", DType::f32}, {"bf16", DType::bf16},
                                               {"f16", DType::f16}, {"i64", DType::i64}, {"i32", DType::i32},
                                               {"u8", DType::u8}};
  command.add_option("--dtype", b.dtype, "f64, f32, bf16, f16, i64, i32, u8; default: f32")
      ->transform(CLI::CheckedTransformer(dtypes));
  command
      .add_option_function<std::string>(
          "--op", [&b](const std::string& word) { b.op = kernels::parse_reduce_op(word); },
          "sum, mean, min, max, prod; default: sum")
      ->check(parses([](const std::string& word) { kernels::parse_reduce_op(word); }));
  command.add_option("--bytes", o.bytes, "of the whole vector: 8 64KiB 1MiB, or 8..64MiB, which doubles")
      ->check(parses([](const std::string& word) { bench::parse_sizes(word); }));
  command.add_option("--rounds", b.rounds, "measurements of each figure; the median is shown")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  CLI::Option* tune = command.add_option("--tune", o.tune, "write the fastest algorithms here, for $GRADUS_COMM_TABLE");
  CLI::Option* simulate = command.add_flag("--simulate", o.simulate, "on a virtual clock, 2 to 1024 ranks");
  command.add_flag("--validate", o.validate, "with --simulate: beside what the ranks take here")->needs(simulate);
  CLI::Option* hosts =
      command.add_option("--ranks-per-host", o.bench.ranks_per_host, "with --simulate: of several hosts");
  hosts->check(CLI::Range(1, 1024))->needs(simulate);
  command.add_option("--remote-latency-us", o.bench.remote_latency_us, "of a message between hosts")
      ->check(CLI::Range(0.0, 1e6))
      ->needs(hosts)
      ->capture_default_str();
  command.add_option("--remote-gb-per-s", o.bench.remote_gb_per_s, "that a host sends")
      ->check(CLI::Range(1e-6, 1e6))
      ->needs(hosts)
      ->capture_default_str();
  command.add_flag("--trace", o.trace, "what each rank sends in each step of --algorithm (ring), and to whom")
      ->excludes(tune);
  tune->excludes(simulate);
  CLI::Option* pictures =
      command.add_option("--pictures", o.pictures, "instead: draw measured and simulated curves here");
  pictures->check(CLI::ExistingDirectory)->excludes(tune, simulate);
  command.add_option("--peers", o.peers, "with --pictures: what bench/peers/collectives/run --json printed")
      ->check(CLI::ExistingFile)
      ->needs(pictures);
  command.footer(R"(As nccl-tests count: time of the slowest rank; algbw = bytes / time; busbw = algbw times 2 (P-1)/P
(all_reduce), (P-1)/P (reduce_scatter, all_gather, all_to_all) or 1; wrong: elements that differ from a
serial computation. gb_per_s: each rank's vector read and written once; share_of_bandwidth: by the same
loads and stores without communication. Started as a rank, by `gradus launch`, mpirun or RANK and
WORLD_SIZE, it is one of that job instead of starting its own; rank 0 prints. The exit code is 1 when elements are wrong, or when a simulated
time is not within 15 % (64 KiB and more) or 30 % of the measured one.)");
}

int run_peak(const PeakOptions& o, Output& out) {
  o.common.apply();
  bench::peak(o.bench, RowWriter(out, o.common.json));
  return kDone;
}

int run_gemm(const GemmOptions& o, Output& out) {
  o.common.apply();
  bench::gemm(o.bench, RowWriter(out, o.common.json));
  return kDone;
}

int run_attention(const AttentionOptions& o, Output& out) {
  o.common.apply();
  const RowWriter write(out, o.common.json);
  if (o.pictures) {
    bench::attention_pictures({.folder = *o.pictures, .rounds = o.bench.rounds}, write);
  } else {
    bench::attention(o.bench, write);
  }
  return kDone;
}

int run_train(const TrainOptions& o, Output& out) {
  o.common.apply();
  bench::train(o.bench, RowWriter(out, o.common.json));
  return kDone;
}

int run_decode(const DecodeOptions& o, Output& out) {
  o.common.apply();
  bench::DecodeOptions options = o.bench;
  if (o.model) options.model = *o.model;
  bench::decode(options, RowWriter(out, o.common.json));
  return kDone;
}

int run_drafting(const DraftingOptions& o, Output& out) {
  o.common.apply();
  bench::DraftingOptions options = o.bench;
  options.model = o.model;
  options.data = o.data;
  options.draft_model = o.draft_model;
  bench::drafting(options, RowWriter(out, o.common.json));
  return kDone;
}

int run_exact(const ExactOptions& o, Output& out) {
  o.common.apply();
  if (bench::exact(o.bench, RowWriter(out, o.common.json))) return kDone;
  print_error(
      "bench exact: the sampler's and the trainer's log-probabilities are not as they must be; see the rows above");
  return kFailed;
}

int run_textbook(const TextbookOptions& o, Output& out) {
  o.common.apply();
  if (bench::textbook(o.bench, RowWriter(out, o.common.json))) return kDone;
  print_error("bench textbook: some numbers are not the book's; see the rows whose `pass` is no");
  return kFailed;
}

int run_rl(const RlOptions& o, Output& out) {
  o.common.apply();
  bench::rl(o.bench, RowWriter(out, o.common.json));
  return kDone;
}

int run_motivation(const MotivationOptions& o, Output& out) {
  o.common.apply();
  bench::MotivationOptions options = o.bench;
  if (o.pictures) options.folder = *o.pictures;
  bench::motivation(options, RowWriter(out, o.common.json));
  return kDone;
}

int run_env(const EnvOptions& o, Output& out) {
  o.common.apply();
  or_usage_error([&] { bench::env(o.bench, RowWriter(out, o.common.json)); });
  return kDone;
}

// The job that this process is a rank of, in which all were started with the same words; null when there is none.
std::unique_ptr<comm::Group> join_allreduce(const AllreduceOptions& o, const bench::AllreduceOptions& measured) {
  const int size = comm::read_environment().size;
  if (size == 1) return nullptr;
  require((!o.trace || o.simulate) && !o.pictures,
          "bench allreduce: --trace and --pictures start ranks of their own, but this is one of {}; run it alone",
          size);
  require(!o.ranks || *o.ranks == size, "bench allreduce: --ranks {}, but this is a rank of {}; leave --ranks out",
          o.ranks.value_or(0), size);
  require(o.transport != "threads",
          "bench allreduce: threads are ranks of one process, but this is one of {}; take shm, tcp", size);
  std::unique_ptr<comm::Group> job = join_job(o.transport.value_or("auto"));
  const std::string words =
      fmt::format("{} of {} ({}) by {} at {} bytes, {} rounds{}{}{}", name(measured.operation), name(measured.dtype),
                  name(measured.op), measured.algorithm, fmt::join(measured.bytes, " "), measured.rounds,
                  o.simulate ? ", simulated" : "", o.validate ? ", validated" : "", o.tune ? ", tuned" : "");
  const std::vector<std::string> all = job->all_gather(words);
  for (size_t r = 1; r < all.size(); ++r) {
    require(all[r] == all[0], "bench allreduce: rank 0 was told {}, but rank {}: {}; start all with the same words",
            all[0], r, all[r]);
  }
  return job;
}

int run_allreduce(const AllreduceOptions& o, Output& out) {
  bench::Sink write = RowWriter(out, o.json);
  bench::SimulateOptions options = o.bench;
  bench::AllreduceOptions& measured = options.measured;
  for (const std::string& word : o.bytes) {
    for (const int64_t bytes : bench::parse_sizes(word)) measured.bytes.push_back(bytes);
  }
  if (measured.bytes.empty() && !o.trace)
    measured.bytes = bench::parse_sizes(o.simulate && !o.validate ? "64KiB..64MiB" : "8..64MiB");
  measured.ranks = o.ranks.value_or(measured.ranks);
  measured.transport = o.transport.value_or(measured.transport);
  return or_usage_error([&] {
    const std::unique_ptr<comm::Group> job = join_allreduce(o, measured);
    std::optional<comm::Monitor> monitor;
    if (job != nullptr) {
      monitor.emplace(*job);
      set_pool_threads(1);  // as the ranks that it starts itself
      measured.job = job.get();
      measured.ranks = job->size();
      measured.transport = job->transport_name();
      if (is_follower(job.get())) write = [](const bench::Row&) {};
    }
    if (o.pictures) {
      bench::AllreducePictureOptions drawn{.folder = *o.pictures, .simulated = options};
      if (o.peers) drawn.peers = *o.peers;
      bench::allreduce_pictures(drawn, write);
      return kDone;
    }
    if (o.trace) {
      if (measured.algorithm == "all") measured.algorithm = "ring";
      bench::allreduce_trace(measured, o.simulate, write);
      return kDone;
    }
    if (o.tune) {
      bench::allreduce_tune(measured, *o.tune, write);
    } else if (o.validate) {
      if (!bench::allreduce_validate(options, write)) {
        print_error(
            "bench allreduce: some simulated times are not the measured ones; see the rows whose `within` is no");
        return kFailed;
      }
    } else if (o.simulate) {
      bench::allreduce_simulate(options, write);
    } else if (!bench::allreduce(measured, write)) {
      print_error("bench allreduce: some elements are wrong; see the rows above");
      return kFailed;
    }
    return kDone;
  });
}

}  // namespace

void add_bench_command(CLI::App& app, Work& work) {
  CLI::App* bench = app.add_subcommand("bench", "Measure this machine, and what Gradus makes of it");
  bench->require_subcommand(1);
  add_command(*bench, work, "peak", "The machine's limits: multiply-adds, large products, reading memory", declare_peak,
              run_peak);
  add_command(*bench, work, "gemm", "Matrix products of real use, ours and oneDNN's", declare_gemm, run_gemm);
  add_command(*bench, work, "attention", "Attention in tiles, and the textbook's with N x N weights", declare_attention,
              run_attention);
  add_command(*bench, work, "train", "A training step, its forward, and sampling", declare_train, run_train);
  add_command(*bench, work, "drafting", "What a model's Medusa heads are worth", declare_drafting, run_drafting);
  add_command(*bench, work, "decode", "Prompts and tokens a second of a language model, and what rows cost",
              declare_decode, run_decode);
  add_command(*bench, work, "exact", "Whether sampler and trainer agree bit for bit", declare_exact, run_exact);
  add_command(*bench, work, "textbook", "The tables of the textbooks, cell by cell", declare_textbook, run_textbook);
  add_command(*bench, work, "rl", "Updates a second of classic RL, and many seeds on two threads", declare_rl, run_rl);
  add_command(*bench, work, "motivation", "What trust regions and deterministic policies are for: returns, 40 settings",
              declare_motivation, run_motivation);
  add_command(*bench, work, "allreduce", "Collectives over the transports of this machine, and simulated ones",
              declare_allreduce, run_allreduce);
  add_command(*bench, work, "env", "Steps a second of environments, alone and many at a time", declare_env, run_env);
}

}  // namespace gradus::app
