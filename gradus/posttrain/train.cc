#include "gradus/posttrain/train.h"

#include <algorithm>

#include "gradus/core/file.h"
#include "gradus/core/memory.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/isa.h"
#include "gradus/lm/adapter.h"
#include "gradus/lm/memory_plan.h"
#include "gradus/posttrain/curves.h"
#include "gradus/posttrain/run_model.h"
#include "gradus/run/config.h"
#include "gradus/run/shared_run.h"

namespace gradus::posttrain {

namespace {

constexpr int64_t kExamples = 5;

// Ranks of one host share its processors.
void use_threads(const TrainConfig& config, const comm::Group* group) {
  const int ranks_here = group != nullptr ? group->ranks_on_this_host() : 1;
  set_pool_threads(config.threads > 0 ? static_cast<int>(config.threads) : std::max(1, available_cpus() / ranks_here));
}

TrainConfig config_from(std::string text, const std::filesystem::path& directory) {
  return run::read_config<TrainConfig>({{run::RunPaths{directory}.config().string(), std::move(text)}}, {});
}

lm::Tokenizer tokenizer_of(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "tokenizer.json", names = folder / "tokenizer_config.json";
  return lm::parse_tokenizer_json(read_file(file), file.string(),
                                  std::filesystem::exists(names) ? read_file(names) : std::string());
}

// What a run learns from: a task's problems, or plain text.
struct Material {
  std::shared_ptr<const Task> task;
  std::shared_ptr<const Text> text;

  std::string about() const { return text ? text->about() : task->about(); }
  lm::Tokenizer tokenizer(const TrainConfig& config) const {
    if (!config.tokenizer.empty()) return tokenizer_of(config.tokenizer);
    return text ? lm::byte_tokenizer() : lm::character_tokenizer(task->alphabet(), task->end_of_text());
  }
};

Material read_material(const TrainConfig& config) {
  config.check();
  if (config.pretrains()) return {.task = nullptr, .text = std::make_shared<Text>(config.data)};
  return {.task = make_task(config), .text = nullptr};
}

// The warm-up is for a new model; one that is given was trained before, unless fine-tuning it is the whole wish.
bool wants_warm_up(const TrainConfig& config, const Task& task) {
  return config.sft.tokens > 0 && task.has_demonstrations() && (config.model.empty() || !config.reinforces());
}

// Those of a list, or some of each difficulty of a task that makes them up, with a response to imitate if there is one.
std::vector<Problem> problems_to_check(const Task& task, const TrainConfig& config) {
  constexpr uint64_t kDraws = 16;  // responses differ in length
  std::vector<Problem> problems = task.all_problems();
  if (!problems.empty()) return problems;
  for (int d = task.difficulties().first; d <= task.difficulties().second; ++d) {
    for (uint64_t i = 0; i < kDraws; ++i) {
      Rng rng(static_cast<uint64_t>(config.seed), Purpose::held_out, static_cast<uint64_t>(d) * kDraws + i);
      problems.push_back(task.make(rng, d));
      const bool imitated = config.sft.max_difficulty == 0 || d <= config.sft.max_difficulty;
      if (imitated) problems.back().demonstration = task.demonstration(problems.back(), rng);
    }
  }
  return problems;
}

// The tokens of a part of `p`. A model that was trained on other texts may lack characters.
int64_t count_tokens(const Problem& p, std::string_view part, const std::function<std::vector<int32_t>()>& encode) {
  try {
    return static_cast<int64_t>(encode().size());
  } catch (const Error& e) {
    fail(e.code(), "{}{}: {}; take data that the model was trained to read, or another model",
         p.place.empty() ? "" : p.place + ": ", part, e.what());
  }
}

int64_t prompt_tokens(const lm::Model& model, const Task& task, const Problem& p) {
  return count_tokens(p, "prompt", [&] { return task.encode_prompt(p, model.tokenizer()); });
}

int64_t response_tokens(const lm::Model& model, const Task& task, const Problem& p, std::string_view part,
                        std::string_view text) {
  return count_tokens(p, part, [&] { return task.encode_response(text, model.tokenizer()); });
}

// What a model cannot read, or has no room for, is said before hours are spent.
void check_fits(const lm::Model& model, const Task& task, const TrainConfig& config) {
  const int64_t room = model.config().max_positions;
  const std::string_view remedy = config.model.empty() ? "raise architecture.max_positions or " : "";
  for (const Problem& p : problems_to_check(task, config)) {
    const std::string place = p.place.empty() ? "" : p.place + ": ";
    const int64_t prompt = prompt_tokens(model, task, p);
    require(prompt + config.k15.max_tokens <= room,
            "{}a prompt of {} tokens and an answer of up to {} (k15.max_tokens) do not fit the model's {} positions; "
            "{}lower k15.max_tokens",
            place, prompt, config.k15.max_tokens, room, remedy);
    if (config.reward.empty()) response_tokens(model, task, p, "answer", p.answer);  // one that could never be given
    if (p.demonstration.empty() || !wants_warm_up(config, task)) continue;
    const int64_t response = response_tokens(model, task, p, "response", p.demonstration);
    const auto widest = static_cast<int64_t>(config.sft.stretch * static_cast<double>(prompt + response + 1));
    require(widest <= room,
            "{}a prompt of {} tokens and a response of {}, stretched {} times (sft.stretch), do not fit the model's {} "
            "positions; {}shorten it",
            place, prompt, response, config.sft.stretch, room, remedy);
  }
}

// What cannot be learned is said before there is a run folder.
void check_can_learn(const lm::Model& model, const Material& material, const TrainConfig& config) {
  if (material.text) {
    PretrainConfig reading = config.pretrain;
    if (config.trains_heads()) reading.context = config.medusa.context;
    return check_fits(model, *material.text, reading);
  }
  check_can_start(*material.task, !config.model.empty());
  require(config.reinforces() || material.task->has_demonstrations(),
          "no demonstrations: {} has nothing to imitate; add `response`", config.algorithm);
  check_fits(model, *material.task, config);
}

// The warm-up's settings. A list of demonstrations is passed over sft.passes times at most: with more the model knows
// them by heart, is no better at others, and is too sure of itself for RL to find anything.
SftConfig warm_up_of(const TrainConfig& config, const lm::Model& model, const Task& task,
                     const std::function<void(const std::string&)>& note) {
  SftConfig sft = config.sft;
  int64_t n_demonstrations = 0, n_tokens = 0;
  for (const Problem& p : task.all_problems()) {
    if (task.is_held_out(p) || p.demonstration.empty()) continue;
    ++n_demonstrations;
    n_tokens += prompt_tokens(model, task, p) + response_tokens(model, task, p, "response", p.demonstration) + 1;
  }
  if (n_demonstrations == 0) return sft;
  if (sft.passes > 0) sft.tokens = std::min(sft.tokens, sft.passes * n_tokens);
  note(fmt::format("warm-up: {} tokens, {:.1f} passes over {} demonstrations", sft.tokens,
                   static_cast<double>(sft.tokens) / static_cast<double>(n_tokens), n_demonstrations));
  return sft;
}

TrainingOptions training_options(const TrainConfig& c, run::Ranks* ranks) {
  return {.problems = c.eval.problems,
          .quick_problems = c.eval.quick_problems,
          .every = c.eval.every,
          .loss_scaling = c.loss_scaling(),
          .ranks = ranks};
}

MemoryPlan plan_of(const TrainConfig& c, const nn::TransformerConfig& model, nn::Precision precision,
                   const run::Ranks* ranks) {
  const int64_t warm_up_rows = c.sft.tokens > 0 ? c.sft.max_rows : 0;
  MemoryPlanConfig plan{.rows = c.pretrains() ? c.pretrain.max_rows : warm_up_rows, .threads = pool().size()};
  if (ranks != nullptr && c.parallel.zero > 0) plan.shares = ranks->size();
  if (c.lora.rank > 0) plan.lora = c.lora.config();
  if (c.trains_heads()) {
    plan.rows = c.medusa.max_rows;
    plan.heads = c.medusa.shape();
    plan.trunk_learns = c.medusa.joint;
    plan.teacher = c.medusa.needs_teacher();
    if (c.medusa.self_distillation) {
      plan.sampled_at_once = c.medusa.sequences;
      plan.sampled_tokens = c.medusa.context + 1;
    }
  }
  if (c.reinforces()) {
    plan.rows = std::max(plan.rows, c.k15.max_rows);
    plan.sampled_at_once = std::min(lm::SamplerConfig{}.max_batch, c.k15.prompts * c.k15.samples);
    plan.sampled_tokens = c.k15.max_tokens + kernels::kKeyBlock;  // a prompt's share is not known yet
  }
  return plan_memory(model, precision, plan);
}

// The shape of the model that make_model makes.
nn::TransformerConfig shape_of(const TrainConfig& config, const Material& material) {
  if (!config.model.empty()) return lm::read_config(model_folder_of(config.model)).model;
  nn::TransformerConfig shape = config.architecture.shape;
  shape.n_vocab = material.tokenizer(config).n_vocab();
  return shape;
}

// Said, and refused when it does not fit, before anything large is there.
void check_memory(const TrainConfig& config, const nn::TransformerConfig& shape, const TrainObserver& observer,
                  const run::Ranks* ranks) {
  constexpr int64_t kWorthALine = 1'000'000'000;
  const nn::PrecisionFormats& f = config.formats();
  const int64_t available = available_memory();
  const std::string what = config.model.empty() ? "a new model" : fmt::format("model {}:", config.model);
  lm::require_memory(what, lm::plan_inference(shape, f.precision, {}), available);
  const MemoryPlan plan = plan_of(config, shape, f.precision, ranks);
  const auto gigabytes = [](int64_t bytes) { return static_cast<double>(bytes) * 1e-9; };
  if (plan.total() > available) {
    fail(ErrorCode::exhausted,
         "train: {:.2f} GB of memory are needed (parameters {:.2f}, gradients {:.2f}, moments {:.2f}, master {:.2f}, "
         "activations {:.2f}, workspace {:.2f}), but {:.2f} are available; take precision=bf16, fewer max_rows, or a "
         "smaller model",
         gigabytes(plan.total()), gigabytes(plan.parameters), gigabytes(plan.gradients), gigabytes(plan.moments),
         gigabytes(plan.master), gigabytes(plan.activations), gigabytes(plan.workspace), gigabytes(available));
  }
  const bool told = f.precision != nn::Precision::fp32 || !config.model.empty() || plan.total() >= kWorthALine;
  if (told && observer.on_memory_plan)
    observer.on_memory_plan(f.name, plan, plan_of(config, shape, nn::Precision::fp32, ranks));
}

// What a precision other than fp32 means here.
void tell_precision(const TrainConfig& config, const TrainObserver& observer) {
  const nn::PrecisionFormats& f = config.formats();
  const bool native = kernels::active_isa() == kernels::Isa::avx512bf16 || kernels::active_isa() == kernels::Isa::ref;
  if (observer.on_note && f.matrices == DType::bf16 && !native) {
    observer.on_note(fmt::format(
        "{} has no instruction for bf16: products run as float ones, with the same bits, no faster than fp32",
        kernels::name(kernels::active_isa())));
  }
  if (observer.on_note && f.precision == nn::Precision::fp64)
    observer.on_note("fp64 runs on the scalar references: one thread, for checks and small models");
}

Hooks hooks_of(const TrainObserver& observer) {
  return {.on_step = observer.on_step, .should_stop = observer.should_stop};
}

std::vector<Example> make_examples(lm::Model& model, const Task& task, const TrainConfig& config) {
  const auto [least, greatest] = task.difficulties();
  const auto problems =
      held_out_set(task, {.n = kExamples, .least_difficulty = least, .greatest_difficulty = greatest});
  const RolloutBatch batch = make_rollouts(
      model, task, problems,
      {.samples = 1,
       .sampler = {.max_tokens = config.k15.max_tokens, .temperature = 0, .seed = static_cast<uint64_t>(config.seed)}});
  std::vector<Example> out;
  for (const Rollout& r : batch.rollouts) {
    out.push_back({task.prompt(batch.problems[r.problem]), r.answer, r.reward.correct, r.ended});
  }
  return out;
}

// What a rank that writes nothing knows at the end.
TrainSummary followed(const run::Run& run, const TrainConfig& config, Training& training) {
  return {.config = config,
          .state = training.state(),
          .directory = run.paths().directory,
          .examples = {},
          .continuation = {},
          .drafting = {},
          .pictures = {}};
}

void require_same_text(const TextState& state, const Text& text, const run::Run& run, const TrainConfig& config) {
  require(state.fingerprint == text.fingerprint(),
          "{}: not the text that the run {} began with; put that back, or begin a new run with model={}", config.data,
          run.paths().directory.string(), run.paths().directory.string());
}

// All that is left to do of a run on plain text. The same code for a new run and a resumed one.
TrainSummary work_on_text(run::Run& run, lm::Model& model, const Text& text, const TrainConfig& config,
                          const TrainObserver& observer, Training& training, bool is_first) {
  const auto measured = [&](std::string_view when, const std::optional<HeldOutLoss>& loss) {
    if (observer.on_held_out_loss) observer.on_held_out_loss(when, *loss);
  };
  TextState& state = training.state().text;
  if (!state.before) {
    state.before = training.evaluate(text, config.pretrain);
    state.fingerprint = text.fingerprint();
    training.checkpoint(-state.before->bits_per_byte());
  }
  require_same_text(state, text, run, config);
  measured("before", state.before);
  if (training.state().phase == "pretrain") {
    if (observer.on_note) {
      observer.on_note(fmt::format(
          "pretrain: {} tokens, {:.1f} passes over the text for training", config.pretrain.tokens,
          static_cast<double>(config.pretrain.tokens) / static_cast<double>(text.training().symbols.size())));
    }
    training.pretrain(text, config.pretrain);
  }
  measured("after", state.after);
  if (!is_first) return followed(run, config, training);
  return {
      .config = config,
      .state = training.state(),
      .directory = run.paths().directory,
      .examples = {},
      .continuation = continue_held_out_text(model, text, config.pretrain.context, static_cast<uint64_t>(config.seed)),
      .drafting = {},
      .pictures = write_curves(run.paths().directory, config.task + '/' + config.algorithm)};
}

// The model as it was before the run, if it and its heads have something to learn from that yet.
std::optional<lm::Model> teacher_of(const TrainConfig& config, TrainState& state) {
  if (!config.medusa.needs_teacher() || state.phase != "medusa") return std::nullopt;
  lm::Model teacher =
      lm::load(model_folder_of(config.model), {.precision = config.formats().precision, .read_only = true});
  const bool begins = !state.heads.before;
  if (begins) state.base_norm = base_norm(teacher);
  require_base_norm(teacher, state.base_norm, config.model);
  return teacher;
}

// The same of one that trains Medusa heads.
TrainSummary work_on_heads(run::Run& run, lm::Model& model, const Text& text, const TrainConfig& config,
                           const TrainObserver& observer, Training& training, bool is_first) {
  const auto measured = [&](std::string_view when, const std::optional<HeadsQuality>& quality) {
    if (observer.on_heads) observer.on_heads(when, *quality);
  };
  TrainState& state = training.state();
  std::optional<lm::Model> teacher = teacher_of(config, state);
  if (!state.heads.before) {
    state.heads.before = heads_quality(model, *model.heads(), text, config.medusa.held_out());
    state.text.fingerprint = text.fingerprint();
    training.checkpoint(state.heads.before->chain_tokens());
  }
  require_same_text(state.text, text, run, config);
  measured("before", state.heads.before);
  if (state.phase == "medusa") training.medusa(text, config.medusa, teacher ? &*teacher : nullptr);
  measured("after", state.heads.after);
  if (!is_first) return followed(run, config, training);
  return {.config = config,
          .state = state,
          .directory = run.paths().directory,
          .examples = {},
          .continuation = {},
          .drafting = report_drafting(model, text, {.seed = static_cast<uint64_t>(config.seed)}, observer.should_stop),
          .pictures = write_curves(run.paths().directory, config.task + '/' + config.algorithm)};
}

// The same of a run on a task.
TrainSummary work_on_task(run::Run& run, lm::Model& model, const Task& task, const TrainConfig& config,
                          const TrainObserver& observer, Training& training, bool is_first) {
  const auto note = [&](const std::string& line) {
    if (observer.on_note) observer.on_note(line);
  };
  const auto evaluated = [&](std::string_view when, const std::optional<EvaluationPair>& pair) {
    if (observer.on_evaluation) observer.on_evaluation(when, *pair);
  };
  TrainState& state = training.state();
  if (state.phase == "sft") {
    if (wants_warm_up(config, task)) {
      training.sft(warm_up_of(config, model, task, note));
    } else {
      note(config.model.empty() ? "no warm-up" : "no warm-up: the model was trained before");
      state.phase = "k15";
    }
  }
  if (state.phase == "k15" && !state.before) {
    state.before = training.evaluate(config.eval.problems, config.k15.max_tokens);
    training.checkpoint(state.before->sampled.accuracy);
  }
  evaluated("before", state.before);
  if (state.phase == "k15") {
    if (config.reinforces()) {
      K15Config k15 = config.k15;
      if (config.algorithm == "rest") k15.weighting = "rest";
      training.k15(k15);
    }
    state.after = config.reinforces() ? training.evaluate(config.eval.problems, config.k15.max_tokens) : state.before;
    state.phase = "done";
    training.checkpoint(state.after->sampled.accuracy);
  }
  evaluated("after", state.after);
  if (!is_first) return followed(run, config, training);
  return {.config = config,
          .state = state,
          .directory = run.paths().directory,
          .examples = make_examples(model, task, config),
          .continuation = {},
          .drafting = {},
          .pictures = write_curves(run.paths().directory, config.task + '/' + config.algorithm)};
}

TrainSummary work(run::Run& run, lm::Model& model, const Material& material, const TrainConfig& config,
                  const TrainObserver& observer, TrainState state, const run::Checkpoint* checkpoint,
                  run::Ranks* ranks) {
  Training training(run, model, material.task.get(), training_options(config, ranks), hooks_of(observer),
                    std::move(state));
  if (checkpoint != nullptr) {
    training.restore(*checkpoint);
  } else {
    training.checkpoint();  // from here on there is something to resume from
  }
  const bool is_first = ranks == nullptr || ranks->is_first();
  if (config.trains_heads()) return work_on_heads(run, model, *material.text, config, observer, training, is_first);
  return material.text ? work_on_text(run, model, *material.text, config, observer, training, is_first)
                       : work_on_task(run, model, *material.task, config, observer, training, is_first);
}

}  // namespace

namespace {

TrainSummary begin(const std::filesystem::path& directory, const TrainConfig& config,
                   std::vector<std::string> command_line, const TrainObserver& observer, run::Ranks* ranks) {
  const Material material = read_material(config);
  check_memory(config, shape_of(config, material), observer, ranks);
  lm::Model model = make_model(config, material.tokenizer(config));
  check_can_learn(model, material, config);
  run::Run run = run::begin_run(ranks, directory,
                                {.seed = static_cast<uint64_t>(config.seed),
                                 .keep_checkpoints = config.keep_checkpoints,
                                 .config_toml = run::write_config(config),
                                 .record = run::record_of_this_process(std::move(command_line)),
                                 .clock = {}});
  if (ranks != nullptr) ranks->report_to(directory / "comm");
  if (observer.on_note) {
    observer.on_note(fmt::format("run {}: {}/{}, {} parameters, {}, {} {}, {}", directory.string(), config.task,
                                 config.algorithm, model.config().n_parameters(), config.precision, pool().size(),
                                 pool().size() == 1 ? "thread" : "threads", kernels::name(kernels::active_isa())));
    if (ranks != nullptr) observer.on_note(ranks->about());
    if (const std::string about = material.about(); !about.empty()) observer.on_note(about);
    if (model.lora() != nullptr) {
      const nn::LoraConfig& lora = model.lora()->config();
      observer.on_note(fmt::format("adapters of rank {} on {}: {} parameters learn, the others are those of {}",
                                   lora.rank, fmt::join(lora.targets, ", "), lora.n_parameters(model.config()),
                                   model.lora_base()));
    }
  }
  tell_precision(config, observer);
  TrainState state{.phase = config.trains_heads() ? "medusa" : material.text ? "pretrain" : "sft"};
  if (model.lora() != nullptr) state.base_norm = base_norm(model);
  return work(run, model, material, config, observer, std::move(state), nullptr, ranks);
}

TrainSummary go_on(run::ResumedRun& resumed, const TrainConfig& config, std::vector<std::string> command_line,
                   const TrainObserver& observer, run::Ranks* ranks) {
  const std::string directory = resumed.run.paths().directory.string();
  if (ranks != nullptr) ranks->report_to(resumed.run.paths().directory / "comm");
  if (observer.on_note) {
    for (const std::string& difference :
         run::differences(resumed.run.record(), run::record_of_this_process(std::move(command_line)))) {
      observer.on_note("warning: " + difference + "; from here on the bits may differ from an uninterrupted run");
    }
    if (ranks != nullptr) observer.on_note(ranks->about());
  }
  const Material material = read_material(config);
  check_memory(config, shape_of(config, material), {}, ranks);
  const std::string origin = fmt::format("checkpoint of step {}", resumed.checkpoint.step);
  TrainState state = parse_train_state(resumed.checkpoint.state, origin);
  lm::Model model = model_of(resumed.checkpoint, config, material.tokenizer(config), state, origin);
  if (observer.on_note)
    observer.on_note(fmt::format("run {}: goes on after step {}", directory, resumed.checkpoint.step));
  return work(resumed.run, model, material, config, observer, std::move(state), &resumed.checkpoint, ranks);
}

}  // namespace

TrainSummary train(const std::filesystem::path& directory, const TrainConfig& config,
                   std::vector<std::string> command_line, const TrainObserver& observer,
                   std::unique_ptr<comm::Group> group) {
  use_threads(config, group.get());
  const auto ranks = run::make_ranks(std::move(group), config.parallel, run::write_config(config));
  return run::on_all_ranks(ranks.get(),
                           [&] { return begin(directory, config, std::move(command_line), observer, ranks.get()); });
}

TrainSummary resume(const std::filesystem::path& directory, std::vector<std::string> command_line,
                    const TrainObserver& observer, std::unique_ptr<comm::Group> group) {
  run::ResumedRun resumed = run::open_run(group.get(), directory);
  const TrainConfig config = config_from(resumed.run.config_toml(), directory);
  config.check();
  use_threads(config, group.get());
  const auto ranks = run::make_ranks(std::move(group), config.parallel, resumed.run.config_toml());
  return run::on_all_ranks(ranks.get(),
                           [&] { return go_on(resumed, config, std::move(command_line), observer, ranks.get()); });
}

EvaluationPair evaluate_model(lm::Model& model, const Task& task, const TrainConfig& config) {
  const auto [least, greatest] = task.difficulties();
  const auto problems = held_out_set(
      task, {.n = static_cast<int>(config.eval.problems), .least_difficulty = least, .greatest_difficulty = greatest});
  return evaluate_on(model, task, problems,
                     {.max_tokens = config.k15.max_tokens, .seed = static_cast<uint64_t>(config.seed)});
}

HeldOutLoss evaluate_on_text(lm::Model& model, const TrainConfig& config) {
  config.check();
  const Text text(config.data);
  check_can_read(model, config.pretrain);
  return held_out_loss(model, text, config.pretrain.held_out());
}

std::filesystem::path model_folder_of(const std::filesystem::path& path) {
  if (std::filesystem::exists(path / "config.json") || lm::is_adapter(path)) return path;
  const run::RunPaths run{path};
  if (std::filesystem::is_directory(run.checkpoints())) {
    if (const auto latest = run::latest_checkpoint(run.checkpoints())) return *latest;
  }
  fail(ErrorCode::not_found,
       "{}: neither a model folder (config.json) nor a run with a checkpoint; train one with `gradus train`",
       path.string());
}

nn::Precision precision_of_model(const std::filesystem::path& path, std::string_view precision) {
  if (!precision.empty()) return nn::precision_from_name(precision);
  const bool is_run = std::filesystem::exists(run::RunPaths{path}.config());
  if (is_run) return nn::precision_from_name(config_of_run(path).precision);
  return lm::stored_precision(model_folder_of(path));
}

lm::Model load_model(const std::filesystem::path& path, std::string_view precision) {
  return lm::load(model_folder_of(path), {.precision = precision_of_model(path, precision), .read_only = true});
}

TrainConfig config_of_run(const std::filesystem::path& directory) {
  return config_from(read_file(run::RunPaths{directory}.config()), directory);
}

}  // namespace gradus::posttrain
