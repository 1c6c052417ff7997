#include "gradus/posttrain/train_config.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <tuple>

#include "gradus/core/edit_distance.h"
#include "gradus/core/error.h"
#include "gradus/lm/chat_template.h"
#include "gradus/posttrain/reward_program.h"
#include "gradus/posttrain/tasks/chain.h"
#include "gradus/posttrain/tasks/jsonl.h"
#include "gradus/posttrain/train.h"

namespace gradus::posttrain {

namespace {

void check_known(std::string_view what, std::string_view value, const std::vector<Named>& known) {
  std::vector<std::string_view> names;
  for (const Named& n : known) names.push_back(n.name);
  if (std::ranges::find(names, value) != names.end()) return;
  fail(ErrorCode::invalid_argument, "{} '{}' is not known; did you mean '{}'? `gradus list` shows all", what, value,
       nearest_name(value, names));
}

ChainConfig chain_config(const ChainSection& c) {
  const auto saturated = [](int64_t v) { return static_cast<int>(std::clamp<int64_t>(v, INT32_MIN, INT32_MAX)); };
  return {.min_operators = saturated(c.min_operators),
          .max_operators = saturated(c.max_operators),
          .long_share = c.long_share};
}

// Of a new model. The vocabulary comes from the task and makes no difference here.
void check_shape(nn::TransformerConfig shape) {
  for (const auto& [key, value, most] : {std::tuple{"layers", shape.layers, int64_t{1} << 12},
                                         {"width", shape.width, int64_t{1} << 16},
                                         {"heads", shape.heads, int64_t{1} << 12},
                                         {"ffn_width", shape.ffn_width, int64_t{1} << 18},
                                         {"max_positions", shape.max_positions, int64_t{1} << 24}}) {
    require(value <= most, "architecture.{} is {}, but may be {} at most", key, value, most);
  }
  shape.n_vocab = 1;
  shape.resolved();
}

// Plain text has no prompts and no answers: one algorithm learns from it, and from nothing else.
void check_fits_together(const TrainConfig& c) {
  const bool is_pretrain = c.algorithm == "pretrain" || c.trains_heads();
  require(!c.pretrains() || is_pretrain,
          "{}/{}: plain text has no answers to learn from; use text/pretrain, or {} on problems (chain, jsonl)", c.task,
          c.algorithm, c.algorithm);
  require(c.pretrains() || !is_pretrain, "{}/{}: {} learns from plain text only; use text/{} data=PATH, or {}/sft",
          c.task, c.algorithm, c.algorithm, c.algorithm, c.task);
  require(!c.trains_heads() || !c.model.empty(),
          "text/medusa trains heads for a model that is there; give model=DIR or RUN");
  require(!c.trains_heads() || c.lora.rank == 0, "text/medusa: lora.rank={} trains adapters; leave it out",
          c.lora.rank);
  const bool reads_data = c.task == "jsonl" || c.pretrains();
  require(reads_data || c.data.empty(), "data={} is only read by the tasks jsonl and text, not by {}", c.data, c.task);
  require(c.task != "jsonl" || !c.data.empty(), "the task jsonl needs data=FILE.jsonl; the format is in docs/data.md");
  require(!c.pretrains() || !c.data.empty(), "the task text needs data=PATH, a file or a folder with text");
  require(
      c.tokenizer.empty() || (c.pretrains() && c.model.empty()),
      "tokenizer={} is for a new model on text; a model that is given has its own, and problems are read by character",
      c.tokenizer);
  require(!c.pretrains() || c.reward.empty(), "reward={} judges answers, and text has none; leave it out", c.reward);
  require(!c.pretrains() || !c.model.empty() || c.pretrain.context <= c.architecture.shape.max_positions,
          "pretrain.context {} is longer than architecture.max_positions {}; lower the one or raise the other",
          c.pretrain.context, c.architecture.shape.max_positions);
}

}  // namespace

const std::vector<Named>& algorithms() {
  static const std::vector<Named> list = {
      {"pretrain", "next-token prediction on plain text: the algorithm of the task text, and of no other",
       "Radford et al. 2018, eq. 1; Radford et al. 2019, section 2"},
      {"medusa", "heads that guess several tokens ahead, for faster generation: on the task text",
       "arXiv 2401.10774, section 2.2, eq. 1 and 2"},
      {"k15", "online policy mirror descent on sampled answers, after a supervised warm-up",
       "arXiv 2501.12599, section 2.3.2, eq. 3"},
      {"rest", "imitation of the correct samples only: the baseline that k15 is compared with",
       "arXiv 2308.08998; 2501.12599, figure 10"},
      {"sft", "supervised fine-tuning on demonstrations", "arXiv 2203.02155, section 3.5"},
  };
  return list;
}

const std::vector<Named>& tasks() {
  static const std::vector<Named> list = {
      {"chain", "digits joined by + - *, evaluated from left to right modulo 7: thinking step by step pays",
       "gradus/posttrain/tasks/chain.h"},
      {"jsonl", "your own problems, one JSON object a line: data=FILE", "docs/data.md"},
      {"text", "your own text, as bytes: data=FILE or FOLDER", "docs/data.md"},
  };
  return list;
}

nn::LoraConfig LoraSection::config() const {
  nn::LoraConfig out{.rank = rank, .alpha = alpha, .targets = {}};
  if (targets == "all") return {.rank = rank, .alpha = alpha};
  for (size_t begin = 0; begin <= targets.size();) {
    const size_t end = std::min(targets.find(',', begin), targets.size());
    std::string word = targets.substr(begin, end - begin);
    begin = end + 1;
    if (!word.ends_with("_proj")) word += "_proj";
    const auto known = std::ranges::find(nn::kLoraTargets, word);
    require(known != nn::kLoraTargets.end(),
            "lora.targets '{}': there is no {}; did you mean '{}'? Write all, or some of q,k,v,o,gate,up,down", targets,
            word, nearest_name(word, nn::kLoraTargets));
    out.targets.push_back(std::move(word));
  }
  return out;
}

void TrainConfig::check() const {
  check_known("task", task, tasks());
  check_known("algorithm", algorithm, algorithms());
  require(seed >= 0, "seed is {}, but must not be negative", seed);
  require(threads >= 0 && threads <= 256, "threads is {}, but must be 0 (all cores) to 256", threads);
  nn::precision_from_name(precision);
  require(loss_scale >= 0 && loss_scale <= optim::LossScaler::kGreatestScale,
          "loss_scale is {}, but must be 0 (dynamic) to {}", loss_scale, optim::LossScaler::kGreatestScale);
  require(loss_scale == 0 || precision == "fp16", "loss_scale={} is for precision=fp16; {} has the range of f32",
          loss_scale, precision);
  require(keep_checkpoints >= 1, "keep_checkpoints is {}, but must be at least 1", keep_checkpoints);
  for (const int64_t n : {eval.problems, eval.quick_problems, eval.every}) {
    require(n >= 1 && n <= INT32_MAX, "eval.problems {}, eval.quick_problems {} and eval.every {} must be 1 to {}",
            eval.problems, eval.quick_problems, eval.every, INT32_MAX);
  }
  check_fits_together(*this);
  require(reward_timeout_s > 0 && reward_timeout_s < 1e6,
          "reward_timeout_s is {}, but must be positive and below a million", reward_timeout_s);
  if (model.empty()) check_shape(architecture.shape);
  require(lora.rank >= 0, "lora.rank is {}, but must not be negative", lora.rank);
  require(lora.rank == 0 || !model.empty(),
          "lora.rank={} adapts a trained model; give model=DIR or RUN, or leave it out", lora.rank);
  if (lora.rank > 0) lora.config();
  std::pair<int, int> difficulties{1, 1};
  if (task == "chain") difficulties = Chain(chain_config(chain)).difficulties();
  parallel.check(1);
  pretrain.check();
  medusa.check();
  sft.check(difficulties);
  k15.check(difficulties);
}

optim::LossScalerConfig TrainConfig::loss_scaling() const {
  if (precision != "fp16") return optim::LossScalerConfig::none();
  return loss_scale == 0 ? optim::LossScalerConfig::automatic() : optim::LossScalerConfig::fixed(loss_scale);
}

namespace {

std::optional<lm::ChatTemplate> chat_template_of_model(const TrainConfig& c) {
  if (!c.jsonl.chat) return std::nullopt;
  require(!c.model.empty(), "jsonl.chat=true takes the chat template of a model; give model=DIR");
  const std::filesystem::path folder = model_folder_of(c.model);
  const std::optional<std::string> source = lm::read_chat_template(folder);
  if (!source) {
    fail(ErrorCode::not_found, "model {} has no chat template; leave jsonl.chat out, or give a model that has one",
         folder.string());
  }
  return lm::ChatTemplate(*source);
}

}  // namespace

std::shared_ptr<const Task> make_task(const TrainConfig& c) {
  c.check();
  GRADUS_CHECK(!c.pretrains());
  std::shared_ptr<const Task> task;
  if (c.task == "chain") {
    task = std::make_shared<Chain>(chain_config(c.chain));
  } else {
    task = std::make_shared<Jsonl>(JsonlConfig{.data = {.path = c.data,
                                                        .prompt_column = c.jsonl.prompt_column,
                                                        .answer_column = c.jsonl.answer_column,
                                                        .response_column = c.jsonl.response_column,
                                                        .answer_required = c.reward.empty()},
                                               .prompt_end = c.jsonl.prompt_end,
                                               .answer_mark = c.jsonl.answer_mark,
                                               .judged_by_program = !c.reward.empty(),
                                               .chat = chat_template_of_model(c)});
  }
  if (c.reward.empty()) return task;
  const auto timeout = std::chrono::milliseconds(static_cast<int64_t>(c.reward_timeout_s * 1000));
  return std::make_shared<ProgramJudgedTask>(std::move(task),
                                             RewardProgramConfig{.program = c.reward, .batch_timeout = timeout});
}

void check_algorithm(std::string_view name) {
  check_known("algorithm", name, algorithms());
}

std::string_view algorithm_on(std::string_view task, std::string_view name) {
  return task == "text" && name == "sft" ? "pretrain" : name;
}

}  // namespace gradus::posttrain
