// The benchmarks behind `gradus bench`: they measure the code that training runs, and hand out rows. They print
// nothing. Every figure of speed is a median over rounds in which all its competitors took turns, and stands beside its
// share of the machine's own limit, measured in the same rounds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "gradus/comm/group.h"
#include "gradus/comm/transport.h"
#include "gradus/core/dtype.h"

namespace gradus::bench {

using Value = std::variant<std::string, int64_t, double, bool>;
using Row = std::vector<std::pair<std::string, Value>>;
using Sink = std::function<void(const Row&)>;  // called as soon as a row is measured

// Floating point and memory limits of the machine: one row each.
//   gflops, share_of_peak          compute; the peak is the larger of a register-only FMA loop and the best large
//   product gb_per_s, share_of_bandwidth   reading
struct PeakOptions {
  int rounds = 15;
};
void peak(const PeakOptions& options, const Sink& sink);

// Matrix products of real use, each by our kernel and by oneDNN, packed and not: one row a shape.
//   gflops               what training or decoding calls here; share_of_peak is of this
//   highway_to_onednn    our rate by oneDNN's, both from plain weights
//   bf16_gflops, f16_gflops   the same product of 16-bit matrices; bf16_share_of_peak by the peak of bf16
//   onednn_same_bits     whether oneDNN's result here has the bits of the contract (gradus/kernels/gemm.h)
struct GemmOptions {
  int rounds = 9;
};
void gemm(const GemmOptions& options, const Sink& sink);

// Attention over sequences of `lengths` tokens in each of `dtypes`, forward and backward, full and causal, head sizes
// 64 and 128: a row each; then decoding one token after 32768, 8 key/value heads. The peak of bf16 is a register-only
// loop of its own where the machine multiplies pairs; f16 computes in f32. FLOPs are those of the field: 4 heads N^2
// head_dim, half when causal; a backward counts 2.5 forwards.
//   max_error, naive_error    of one head, against the scalar reference in double
//   workspace_bytes           beyond inputs and outputs: lse, and the threads' scratch
//   naive_time_us, naive_bytes   the textbook's way with f32 matrix products, in 16-bit dtypes rounded after each, and
//                                its N x N matrices of one head (in f32)
// Beyond kLongestNaive tokens the textbook's way and the double reference do not run: errors and naive_time_us are 0.
struct AttentionOptions {
  std::vector<int64_t> lengths = {1024, 2048};
  std::vector<DType> dtypes = {DType::f32, DType::bf16};  // f32 | bf16 | f16
  int rounds = 7;
};
inline constexpr int64_t kLongestNaive = 16384;
inline constexpr int64_t kLongestAttention = int64_t{1} << 20;
void attention(const AttentionOptions& options, const Sink& sink);

// Time, memory and bytes moved of one head (f32, head size 64, full) by the textbook and in tiles, over `lengths`: a
// row each, then attention-time.svg, attention-memory.svg and attention-traffic.svg in `folder`, which must exist.
//   *_us         measured
//   *_mb         allocated beside inputs and outputs: the textbook's N x N matrices; pages (forward), lse and scratch
//   *_moved_mb   counted, see AttentionTraffic in attention_picture.cc
struct AttentionPictureOptions {
  std::filesystem::path folder;
  std::vector<int64_t> lengths = {128, 256, 512, 1024, 2048, 4096, 8192};
  int rounds = 7;
};
void attention_pictures(const AttentionPictureOptions& options, const Sink& sink);

// Training, its forward pass alone, and sampling, at the rate of useful FLOPs (flops.h).
//   `vs_forward` of the row `sample` is its FLOP rate by that of the training forward.
struct TrainOptions {
  // d128x4 and d512x4 on answers of the task chain, d512x8 on windows of 512 bytes of text.
  std::vector<std::string> models = {"d128x4", "d512x4", "d512x8"};
  std::vector<std::string> precisions = {"fp32", "bf16"};
  int rounds = 7;
  int64_t sequences = 96;     // per step, as in gradus/posttrain/sft.h
  int64_t max_rows = 0;       // rows of a micro-batch; 0 = what training takes
  bool with_sampling = true;  // the row `sample`, for d128x4
};
void train(const TrainOptions& options, const Sink& sink);

// Reading and writing text, by llama-bench's conventions: random tokens, one sequence, no tokenizer and no sampler; a
// repetition to warm up, then `rounds`, of which tokens_per_s is the mean and deviation the sample's. Rows:
//   pp512, tg128   a prompt of 512 tokens at once, and 128 tokens one by one from an empty cache
//       share_of_peak        useful FLOPs (flops.h) by the peak of the precision
//       share_of_bandwidth   bytes of all weights, once for each pass, by the rate of reading memory; of tg128
//                            the median over rounds, memory being read before every 16 tokens
//   rows           the cost curve: a pass over so many rows behind kCurveContext tokens, with the logits of all;
//                  `ratio` to one row, medians
struct DecodeOptions {
  std::optional<std::filesystem::path> model{};  // a model's folder; else
  std::string shape = "135m";                    // of decode_shapes(), with random weights
  std::string precision = "bf16";                // fp32 | bf16 | fp16
  int rounds = 5;
};
inline constexpr int64_t kCurveContext = 128;
const std::vector<std::string>& decode_shapes();
void decode(const DecodeOptions& options, const Sink& sink);

// Held-out text continued with a model's Medusa heads, eight texts or more, so many at once: without drafts, with a
// chain, a static tree, the tree that pays most, copies of what stood before, both, and typical acceptance, in turns;
// and with a second, smaller model's chain, if there is one. Rows:
//   speed_up         to plain decoding in the same rounds, medians
//   tokens_per_tree  tokens that a tree gave, the one that is drawn anyway included
//   nodes            drafted, of a tree
//   kept_at_depth    the share of trees of which a node of depth 1, 2, ... was kept
//   same_text        as plain decoding, log-probabilities included, to the bit
struct DraftingOptions {
  std::filesystem::path model;        // a run or folder with heads
  std::filesystem::path data;         // its text
  std::filesystem::path draft_model;  // a run or folder of the same tokens; "": none
  std::string precision = "";         // "": the model's own
  std::vector<double> temperatures = {0.0, 1.0};
  std::vector<int64_t> batches = {1, 8, 64};
  std::vector<std::string> only = {};  // names of methods that run beside plain decoding; empty: all
  int64_t max_tokens = 192;
  int rounds = 5;
};
void drafting(const DraftingOptions& options, const Sink& sink);

// Whether the sampler's log-probabilities are the trainer's, bit for bit (DESIGN.md section 3).
//   without `run`: small models of its own, over instruction sets, threads, batch sizes, packings, prompts of several
//   key
//     blocks, temperatures and backends of matrix products: a row per model and instruction set with `mismatch_max`,
//     and `samples_equal`: that all of these drew the same tokens with the same log-probabilities
//   with `run`: the rollouts of that run, by its own checkpoints (see exact_run.cc)
// then the control: one weight moved by one unit in the last place between sampling and training must be seen; then a
// last row over all. Returns whether all is as it must be. Throws what loading a run throws.
struct ExactOptions {
  std::optional<std::string> run;
  std::optional<std::string> isa;  // only this instruction set
};
bool exact(const ExactOptions& options, const Sink& sink);

// The tables and curves of the textbooks, cell by cell: what is printed, what our algorithms give, and whether the
// difference is allowed (half a printed digit, or three standard errors). Returns whether all cells pass.
struct TextbookOptions {
  int64_t seeds = 30;  // of what is learned by sampling
};
bool textbook(const TextbookOptions& options, const Sink& sink);

// Classic RL by the functions that `train` calls, one seed on one core: updates or steps a second, and the same steps
// of the environment alone. Many seeds on 1 and on 2 threads. Networks (rl_networks.h). Then two tables that need no
// clock: bias and variance of temporal differences and Monte Carlo, and values from a table to a function.
struct RlOptions {
  int rounds = 9;
};
void rl(const RlOptions& options, const Sink& sink);

// What trust regions and deterministic policies are for (motivation.cc): greedy returns on CartPole by the size of a
// step, and on Pendulum by the number of torques that dqn chooses from, beside ddpg; a row each. With `folder`, which
// must exist, step-sizes.svg and binned-actions.svg there.
struct MotivationOptions {
  std::optional<std::filesystem::path> folder{};
  int64_t seeds = 5;
  int64_t cartpole_steps = 100'000, pendulum_steps = 20'000;
};
void motivation(const MotivationOptions& options, const Sink& sink);

// Steps a second of an environment, by random actions drawn beforehand: alone, 256 of them in VecEnv on one thread (the
// caller), and on two.
struct EnvOptions {
  std::string name;         // as make_env takes it; "": all of the catalogue
  int64_t steps = 200'000;  // of a measurement
  int rounds = 9;
};
void env(const EnvOptions& options, const Sink& sink);

// Collectives over the transports of this machine, each algorithm in turns: a row for each size and algorithm, by the
// conventions of nccl-tests.
//   time_us              median over rounds of the mean of the slowest rank
//   algbw_gb_s           bytes / time; bytes are those of the whole vector
//   busbw_gb_s           algbw times 2 (P - 1)/P (all_reduce), (P - 1)/P (reduce_scatter, all_gather, all_to_all) or 1
//   wrong                elements, on all ranks, that differ from a serial computation; all numbers are whole
//   sent_bytes           in one call, by the rank that sent most
//   gb_per_s, bandwidth_gb_per_s, share_of_bandwidth
//                        threads, f32 all_reduce: 2 P bytes / time, since every vector is read and written once; and
//                        the same loads and stores by the same threads without communication, in the same rounds
struct AllreduceOptions {
  std::string transport = "threads";  // of allreduce_transports()
  std::string algorithm = "all";      // a name; all; auto: what the table takes
  comm::Operation operation = comm::Operation::all_reduce;
  kernels::ReduceOp op = kernels::ReduceOp::sum;
  DType dtype = DType::f32;
  int ranks = 2;                 // 1 to 64
  std::vector<int64_t> bytes{};  // of the whole vector, 0 to kLongestVector
  int rounds = 9;
  // Ranks that are there already, this process one of them; transport and ranks name theirs then. All make the same
  // calls with the same options, and rows come on rank 0. Null: ranks of the bench's own.
  comm::Group* job = nullptr;
};
inline constexpr int64_t kLongestVector = int64_t{4} << 30;
const std::vector<std::string>& allreduce_transports();
bool allreduce(const AllreduceOptions& options, const Sink& sink);  // was nothing wrong?

// "8", "64KiB", "1MiB", "2GiB"; or a range "8..64MiB" that doubles from the first to the last. Throws invalid_argument.
std::vector<int64_t> parse_sizes(std::string_view text);

// Measures all algorithms of all operations over `bytes` and writes the fastest of each size as rules to `file`, which
// $GRADUS_COMM_TABLE may name; a row each.
void allreduce_tune(const AllreduceOptions& options, const std::filesystem::path& file, const Sink& sink);

// What each algorithm would take among 2, 4, 8, ... 1024 ranks: its schedule on a virtual clock whose costs are those
// of the transport, measured between two ranks here. The first row has them. All rows have simulated = true.
//   ranks_per_host, remote_*   above 0: hosts of so many ranks, between which messages cost this instead
struct SimulateOptions {
  AllreduceOptions measured{};
  std::vector<int64_t> ranks = {2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
  int ranks_per_host = 0;
  double remote_latency_us = 25, remote_gb_per_s = 1.15;
};
void allreduce_simulate(const SimulateOptions& options, const Sink& sink);
// Simulated times beside measured ones, in turns: the median of their errors. The model is measured between ranks 0 and
// 1 alone. Is each within 15 % for 64 KiB and more, 30 % below? Ranks other than 0 say yes.
bool allreduce_validate(const SimulateOptions& options, const Sink& sink);

// Draws allreduce-busbw.svg, auto over threads, shm and tcp on two ranks, and allreduce-simulated.svg, vectors of 1 MiB
// on hosts of 8 ranks each, into `folder`, which must exist. A row for each point.
//   peers  lines of bench/peers/collectives/run --json, for the first one
struct AllreducePictureOptions {
  std::filesystem::path folder;
  std::optional<std::filesystem::path> peers{};
  SimulateOptions simulated{};
};
void allreduce_pictures(const AllreducePictureOptions& options, const Sink& sink);

// What each rank sends in each step of the algorithm that is named, on real ranks or simulated ones.
void allreduce_trace(const AllreduceOptions& options, bool simulated, const Sink& sink);

}  // namespace gradus::bench
