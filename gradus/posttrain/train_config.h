// The configuration of a language-model training run: what `gradus train WHAT/HOW` reads and a run folder keeps.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/nn/lora.h"
#include "gradus/nn/precision.h"
#include "gradus/nn/transformer_config.h"
#include "gradus/optim/loss_scaler.h"
#include "gradus/posttrain/k15.h"
#include "gradus/posttrain/medusa.h"
#include "gradus/posttrain/pretrain.h"
#include "gradus/posttrain/sft.h"
#include "gradus/posttrain/task.h"
#include "gradus/run/ranks.h"

namespace gradus::posttrain {

struct ModelSection {
  nn::TransformerConfig shape{.layers = 4, .width = 128, .heads = 4, .max_positions = 512};

  template <class F>
  void fields(F& f) {
    f("layers", shape.layers, "decoder layers");
    f("width", shape.width, "model width");
    f("heads", shape.heads, "attention heads");
    f("kv_heads", shape.kv_heads, "key/value heads; 0 = heads");
    f("head_size", shape.head_size, "0 = width / heads");
    f("ffn_width", shape.ffn_width, "inner width of the feed-forward part; 0 = 8/3 width");
    f("max_positions", shape.max_positions, "longest prompt and answer together");
    f("rope_theta", shape.rope_theta, "base of the rotary angles");
    f("tie_embeddings", shape.tie_embeddings, "one matrix for the input table and the output head");
    f("qkv_bias", shape.qkv_bias, "biases on q, k, v (Qwen2)");
  }
};

struct ChainSection {
  int64_t min_operators = 3;
  int64_t max_operators = 8;
  double long_share = 0.6;

  template <class F>
  void fields(F& f) {
    f("min_operators", min_operators, "fewest operators of a problem");
    f("max_operators", max_operators, "most operators of a problem");
    f("long_share", long_share, "share of demonstrations that show every step: dials the starting accuracy");
  }
};

struct JsonlSection {
  std::string prompt_column, answer_column, response_column;
  std::string prompt_end = "\n";
  std::string answer_mark = "=";
  bool chat = false;

  template <class F>
  void fields(F& f) {
    f("chat", chat, "put prompts, and rows of messages, into the chat template of model=");
    f("prompt_column", prompt_column, "\"\" = the first of prompt, question, problem, input");
    f("answer_column", answer_column, "\"\" = the first of answer, label");
    f("response_column", response_column, "\"\" = response");
    f("prompt_end", prompt_end, "added to a prompt: here the model's turn begins");
    f("answer_mark", answer_mark, "the answer is the text after the last one; \"\" = the whole response");
  }
};

struct LoraSection {
  int64_t rank = 0;
  double alpha = 16;
  std::string targets = "all";

  template <class F>
  void fields(F& f) {
    f("rank", rank, "of low-rank adapters, which alone learn, beside the frozen model=; 0 = all weights learn");
    f("alpha", alpha, "what the adapters add is scaled by alpha / rank");
    f("targets", targets, "\"all\", or some of q,k,v,o,gate,up,down");
  }

  // For rank > 0. Throws invalid_argument on a target that does not exist, naming the nearest.
  nn::LoraConfig config() const;
};

struct EvalSection {
  int64_t problems = 512;
  int64_t quick_problems = 128;
  int64_t every = 10;

  template <class F>
  void fields(F& f) {
    f("problems", problems, "held-out problems before and after");
    f("quick_problems", quick_problems,
      "held-out problems at a checkpoint; the best checkpoint has the highest accuracy of these");
    f("every", every, "iterations between checkpoints");
  }
};

struct TrainConfig {
  std::string task = "chain";
  std::string algorithm = "k15";
  int64_t seed = 1;
  int64_t threads = 0;
  int64_t keep_checkpoints = 2;
  std::string precision = "fp32";
  double loss_scale = 0;
  std::string model;
  std::string tokenizer;
  std::string data;
  std::string reward;
  double reward_timeout_s = 60;
  ModelSection architecture;
  ChainSection chain;
  JsonlSection jsonl;
  PretrainConfig pretrain;
  MedusaTrainConfig medusa;
  SftConfig sft;
  K15Config k15;
  LoraSection lora;
  EvalSection eval;
  run::ParallelConfig parallel;

  template <class F>
  void fields(F& f) {
    f("task", task, "what to learn: see `gradus list tasks`");
    f("algorithm", algorithm, "how: see `gradus list algorithms`");
    f("seed", seed, "key of all randomness");
    f("threads", threads, "compute threads; 0 = all cores; results do not depend on it");
    f("keep_checkpoints", keep_checkpoints, "the last so many are kept, and the best");
    f("precision", precision, "fp64, fp32, bf16, fp16 or bf16-pure: what it computes and keeps weights in");
    f("loss_scale", loss_scale, "of fp16: a fixed factor, or 0 = dynamic, from 65536");
    f("model", model, "folder of a model to start from; \"\" = a new one");
    f("tokenizer", tokenizer,
      "of a new model on text: a folder with tokenizer.json (`gradus tokenizer train`); none = bytes");
    f("data", data, "the rows of task jsonl; the file or folder of task text");
    f("reward", reward, "a program that judges answers; \"\" = the task does");
    f("reward_timeout_s", reward_timeout_s, "deadline of the program for one batch, in seconds");
    f.section("architecture", architecture);
    f.section("chain", chain);
    f.section("jsonl", jsonl);
    f.section("pretrain", pretrain);
    f.section("medusa", medusa);
    f.section("sft", sft);
    f.section("k15", k15);
    f.section("lora", lora);
    f.section("eval", eval);
    f.section("parallel", parallel);
  }

  // Values that make no sense together, and a task or algorithm that does not exist: invalid_argument, naming the
  // nearest known one.
  void check() const;
  const nn::PrecisionFormats& formats() const { return nn::formats(nn::precision_from_name(precision)); }
  optim::LossScalerConfig loss_scaling() const;
  bool pretrains() const { return task == "text"; }  // or trains heads: learns from plain text
  bool trains_heads() const { return algorithm == "medusa"; }
  bool reinforces() const { return algorithm != "sft" && !pretrains(); }
};

// A name with one line about it, for `gradus list` and for errors.
struct Named {
  std::string_view name, description, source;
};
const std::vector<Named>& algorithms();
const std::vector<Named>& tasks();

// The task that `config` asks for, with its reward program if any. Reads data files. Not of one that pretrains.
std::shared_ptr<const Task> make_task(const TrainConfig& config);

// Throws invalid_argument, naming the nearest known one. Each algorithm works on each preset, but `pretrain` on `text`
// alone, and nothing else on that.
void check_algorithm(std::string_view name);

// What `name` means on `task`: supervised learning on plain text (`text/sft`) is `pretrain`, elsewhere the name itself.
std::string_view algorithm_on(std::string_view task, std::string_view name);

}  // namespace gradus::posttrain
