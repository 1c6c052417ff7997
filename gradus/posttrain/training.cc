#include "gradus/posttrain/training.h"

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "gradus/core/json.h"
#include "gradus/kernels/convert.h"
#include "gradus/lm/adapter.h"
#include "gradus/run/whole_weights.h"

namespace gradus::posttrain {

namespace {

using nlohmann::json;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

json to_json_number(double x) {
  return std::isfinite(x) ? json(x) : json(nullptr);
}

json to_json(const Evaluation& e) {
  return {{"answers", e.answers},
          {"accuracy", to_json_number(e.accuracy)},
          {"response_tokens_mean", to_json_number(e.response_tokens_mean)},
          {"ended_share", to_json_number(e.ended_share)},
          {"long_share", to_json_number(e.long_share)},
          {"long_accuracy", to_json_number(e.long_accuracy)},
          {"short_accuracy", to_json_number(e.short_accuracy)}};
}

double number(const json& j, const char* key) {
  return j.at(key).is_null() ? std::nan("") : j.at(key).get<double>();
}

Evaluation parse_evaluation(const json& j) {
  return {.answers = j.at("answers").get<int64_t>(),
          .accuracy = number(j, "accuracy"),
          .response_tokens_mean = number(j, "response_tokens_mean"),
          .ended_share = number(j, "ended_share"),
          .long_share = number(j, "long_share"),
          .long_accuracy = number(j, "long_accuracy"),
          .short_accuracy = number(j, "short_accuracy")};
}

json to_json(const std::optional<EvaluationPair>& pair) {
  return pair ? json{{"sampled", to_json(pair->sampled)}, {"greedy", to_json(pair->greedy)}} : json(nullptr);
}

std::optional<EvaluationPair> parse_pair(const json& j) {
  if (j.is_null()) return std::nullopt;
  return EvaluationPair{parse_evaluation(j.at("sampled")), parse_evaluation(j.at("greedy"))};
}

json to_json(const std::optional<HeldOutLoss>& loss) {
  return loss ? json{{"tokens", loss->tokens}, {"bytes", loss->bytes}, {"nats", to_json_number(loss->nats)}}
              : json(nullptr);
}

std::optional<HeldOutLoss> parse_loss(const json& j) {
  if (j.is_null()) return std::nullopt;
  return HeldOutLoss{j.at("tokens").get<int64_t>(), j.at("bytes").get<int64_t>(), number(j, "nats")};
}

json to_json(const TextState& s) {
  return {{"step", s.pretrain.step},     {"tokens", s.pretrain.tokens}, {"fingerprint", s.fingerprint},
          {"before", to_json(s.before)}, {"after", to_json(s.after)},   {"training_s", s.training_s}};
}

TextState parse_text_state(const json& j) {
  return {.pretrain = {j.at("step").get<int64_t>(), j.at("tokens").get<int64_t>()},
          .fingerprint = j.at("fingerprint").get<uint64_t>(),
          .before = parse_loss(j.at("before")),
          .after = parse_loss(j.at("after")),
          .training_s = j.at("training_s").get<double>()};
}

json to_json(const std::optional<HeadsQuality>& q) {
  return q ? json{{"tokens", q->tokens}, {"at_rank", q->at_rank}} : json(nullptr);
}

std::optional<HeadsQuality> parse_quality(const json& j) {
  if (j.is_null()) return std::nullopt;
  return HeadsQuality{j.at("tokens").get<int64_t>(), j.at("at_rank").get<std::vector<std::vector<double>>>()};
}

json to_json(const HeadsState& s) {
  return {
      {"step", s.medusa.step}, {"tokens", s.medusa.tokens}, {"before", to_json(s.before)}, {"after", to_json(s.after)}};
}

HeadsState parse_heads_state(const json& j) {
  return {.medusa = {j.at("step").get<int64_t>(), j.at("tokens").get<int64_t>()},
          .before = parse_quality(j.at("before")),
          .after = parse_quality(j.at("after"))};
}

json to_json(const std::optional<optim::LossScalerState>& s) {
  return s ? json{{"scale", s->scale},
                  {"clean_steps", s->clean_steps},
                  {"skipped", s->skipped},
                  {"skipped_in_a_row", s->skipped_in_a_row}}
           : json(nullptr);
}

std::optional<optim::LossScalerState> parse_scaler_state(const json& j) {
  if (j.is_null()) return std::nullopt;
  return optim::LossScalerState{.scale = j.at("scale").get<double>(),
                                .clean_steps = j.at("clean_steps").get<int64_t>(),
                                .skipped = j.at("skipped").get<int64_t>(),
                                .skipped_in_a_row = j.at("skipped_in_a_row").get<int64_t>()};
}

double metric(const Metrics& metrics, std::string_view name) {
  for (const auto& [key, value] : metrics) {
    if (key == name) return value;
  }
  return 0;
}

std::vector<run::Rollout> to_rows(const Task& task, const lm::Tokenizer& tokenizer, const RolloutBatch& batch,
                                  int64_t iteration) {
  std::vector<run::Rollout> rows;
  for (size_t i = 0; i < batch.rollouts.size(); ++i) {
    const Rollout& r = batch.rollouts[i];
    const auto prompt = static_cast<size_t>(r.prompt_tokens);
    rows.push_back({.iteration = iteration,
                    .prompt_index = static_cast<int64_t>(r.problem),
                    .sample_index = static_cast<int64_t>(i) % batch.samples,
                    .prompt = tokenizer.decode(std::span(r.tokens).first(prompt)),
                    .answer = r.answer,
                    .tokens = {r.tokens.begin() + r.prompt_tokens, r.tokens.end()},
                    .log_probs = r.log_probs,
                    .reward = r.reward.value,
                    .correct = r.reward.correct,
                    .style = task.style(r.answer)});
  }
  return rows;
}

}  // namespace

std::string to_json(const TrainState& s) {
  return write_json(json{{"phase", s.phase},
                         {"step", s.step},
                         {"sft", {{"step", s.sft.step}, {"tokens", s.sft.tokens}}},
                         {"k15", {{"iteration", s.k15.iteration}, {"curriculum", s.k15.curriculum}}},
                         {"before", to_json(s.before)},
                         {"after", to_json(s.after)},
                         {"mismatch_max", to_json_number(s.mismatch_max)},
                         {"elapsed_s", s.elapsed_s},
                         {"text", to_json(s.text)},
                         {"heads", to_json(s.heads)},
                         {"scaler", to_json(s.scaler)},
                         {"optimiser_steps", s.optimiser_steps},
                         {"base_norm", s.base_norm}});
}

TrainState parse_train_state(std::string_view text, std::string_view origin) {
  const json j = parse_json(text, origin);
  try {
    return {
        .phase = j.at("phase").get<std::string>(),
        .step = j.at("step").get<int64_t>(),
        .sft = {j.at("sft").at("step").get<int64_t>(), j.at("sft").at("tokens").get<int64_t>()},
        .k15 = {j.at("k15").at("iteration").get<int64_t>(), j.at("k15").at("curriculum").get<std::vector<double>>()},
        .before = parse_pair(j.at("before")),
        .after = parse_pair(j.at("after")),
        .mismatch_max = number(j, "mismatch_max"),
        .elapsed_s = j.at("elapsed_s").get<double>(),
        .text = j.contains("text") ? parse_text_state(j.at("text")) : TextState{},
        .heads = j.contains("heads") ? parse_heads_state(j.at("heads")) : HeadsState{},
        .scaler = j.contains("scaler") ? parse_scaler_state(j.at("scaler")) : std::nullopt,
        .optimiser_steps = j.contains("optimiser_steps")
                               ? j.at("optimiser_steps").get<int64_t>()
                               : j.at("sft").at("step").get<int64_t>(),  // before it was kept, no step was skipped
        .base_norm = j.value("base_norm", 0.0)};
  } catch (const json::exception& e) {
    fail(ErrorCode::corrupt, "{}: not the state of a training run: {}", origin, e.what());
  }
}

const char* weights_file(const lm::Model& model) {
  return model.lora() != nullptr ? lm::kAdapterFile : "model.safetensors";
}

Training::Training(run::Run& run, lm::Model& model, const Task* task, const TrainingOptions& options, Hooks hooks,
                   TrainState state)
    : run_(run),
      model_(model),
      task_(task),
      options_(options),
      hooks_(std::move(hooks)),
      state_(std::move(state)),
      started_s_(steady_seconds() - state_.elapsed_s),
      scaler_(options.loss_scaling) {
  if (state_.scaler) scaler_.restore(*state_.scaler);
}

void Training::log(std::string_view phase, const Metrics& metrics) {
  run_.log(state_.step, phase, metrics);
}

void Training::stop_if_asked() {
  bool stop = hooks_.should_stop && hooks_.should_stop();
  if (options_.ranks != nullptr) stop = options_.ranks->any(stop);
  if (!stop) return;
  if (saved_step_ != state_.step) checkpoint();  // one that is there stays as it is, with its score
  fail(ErrorCode::interrupted, "train: stopped at step {}; `gradus resume {}` goes on", state_.step,
       run_.paths().directory.string());
}

double Training::elapsed_s() const {
  return steady_seconds() - started_s_;
}

void Training::continue_moments() {
  if (!saved_moments_) return;
  const size_t n = moments_->parameters().size();
  const auto saved = [&](const char* prefix) {
    std::vector<Tensor> moments;
    for (const nn::Parameter* p : moments_->parameters()) {
      const std::string wanted = prefix + p->name;
      const auto tensor = std::ranges::find(*saved_moments_, wanted, &NamedTensors::value_type::first);
      if (tensor == saved_moments_->end() || tensor->second.shape() != p->value.shape() ||
          tensor->second.dtype() != kernels::computed_in(p->weights_dtype())) {
        fail(ErrorCode::corrupt, "checkpoint of step {}: trainer.safetensors has no {} of shape {}", *saved_step_,
             wanted, to_string(p->value.shape()));
      }
      moments.push_back(tensor->second);
    }
    return moments;
  };
  const std::vector<Tensor> first = saved("adamw.m."), second = saved("adamw.v.");
  if (exchange_ != nullptr) {
    exchange_->take_moments(first, second);
  } else {
    for (size_t i = 0; i < n; ++i) {
      moments_->first_moments()[i].copy_from(first[i]);
      moments_->second_moments()[i].copy_from(second[i]);
    }
  }
  moments_->set_steps(state_.optimiser_steps);
  saved_moments_.reset();
}

void Training::sft(const SftConfig& config) {
  GRADUS_CHECK(task_ != nullptr);
  Sft learner(model_, *task_, config, run_.seed(), &scaler_, options_.ranks);
  learner.state() = state_.sft;
  follow_moments(learner);
  const double first_s = steady_seconds();
  const int64_t first_tokens = learner.state().tokens;
  while (!learner.done()) {
    stop_if_asked();
    Metrics metrics = learner.step();
    ++state_.step;
    state_.sft = learner.state();
    add_cut_metrics(exchange_, options_.ranks, metrics);
    metrics.emplace_back("tokens_per_s",
                         static_cast<double>(learner.state().tokens - first_tokens) / (steady_seconds() - first_s));
    metrics.emplace_back("elapsed_s", elapsed_s());
    const bool last = learner.done();
    if (state_.sft.step % options_.log_every == 0 || last) log("sft", metrics);
    if (hooks_.on_step) {
      hooks_.on_step({.phase = "sft",
                      .iteration = state_.sft.step,
                      .done = std::min(state_.sft.tokens, config.tokens),
                      .total = config.tokens,
                      .metrics = metrics});
    }
    if (state_.sft.step % options_.sft_every == 0 && !last) checkpoint();
  }
  moments_ = nullptr;
  state_.phase = "k15";
  checkpoint();
}

void Training::k15(const K15Config& config) {
  GRADUS_CHECK(task_ != nullptr);
  K15 learner(model_, *task_, config, run_.seed(), &scaler_, options_.ranks);
  if (state_.k15.iteration > 0) learner.restore(state_.k15);
  while (!learner.done()) {
    stop_if_asked();
    const double begin_s = steady_seconds();
    Metrics metrics;
    try {
      metrics = learner.iterate(hooks_.should_stop);
    } catch (const Error& e) {
      if (e.code() == ErrorCode::interrupted) stop_if_asked();  // nothing of the iteration has been learned yet
      throw;
    }
    ++state_.step;
    state_.k15 = learner.state();
    const double mismatch = metric(metrics, "mismatch_max");
    if (!(mismatch <= state_.mismatch_max)) state_.mismatch_max = mismatch;  // so that a NaN stays
    metrics.emplace_back("tokens_per_s", metric(metrics, "tokens") / (steady_seconds() - begin_s));
    const bool last = learner.done();
    std::optional<double> score;
    if (state_.k15.iteration % options_.every == 0 || last) {
      // Not to be interrupted: it is short, and belongs to the iteration's row.
      const EvaluationPair quick = evaluate_on_held_out(options_.quick_problems, config.max_tokens, {});
      score = quick.sampled.accuracy;
      metrics.emplace_back("held_out_accuracy", quick.sampled.accuracy);
      metrics.emplace_back("held_out_greedy_accuracy", quick.greedy.accuracy);
    }
    metrics.emplace_back("elapsed_s", elapsed_s());
    log("k15", metrics);
    run_.log_rollouts(state_.k15.iteration,
                      to_rows(*task_, model_.tokenizer(), learner.rollouts(), state_.k15.iteration));
    if (hooks_.on_step) {
      hooks_.on_step({.phase = "k15",
                      .iteration = state_.k15.iteration,
                      .done = state_.k15.iteration,
                      .total = config.iterations,
                      .metrics = metrics,
                      .rollouts = &learner.rollouts()});
    }
    if (score) checkpoint(score);
  }
}

EvaluationPair Training::evaluate(int64_t n_problems, int64_t max_tokens) {
  try {
    return evaluate_on_held_out(n_problems, max_tokens, hooks_.should_stop);
  } catch (const Error& e) {
    if (e.code() == ErrorCode::interrupted) stop_if_asked();
    throw;
  }
}

EvaluationPair Training::evaluate_on_held_out(int64_t n_problems, int64_t max_tokens,
                                              const std::function<bool()>& should_stop) {
  GRADUS_CHECK(task_ != nullptr);
  const auto [least, greatest] = task_->difficulties();
  const std::vector<Problem> problems = held_out_set(
      *task_, {.n = static_cast<int>(n_problems), .least_difficulty = least, .greatest_difficulty = greatest});
  return evaluate_on(model_, *task_, problems, {.max_tokens = max_tokens, .seed = run_.seed()}, should_stop,
                     options_.ranks);
}

void Training::checkpoint(std::optional<double> score) {
  state_.elapsed_s = elapsed_s();
  state_.scaler = scaler_.state();
  state_.optimiser_steps = moments_ != nullptr ? moments_->steps() : 0;
  run::Checkpoint c{
      .step = state_.step, .score = score, .state = to_json(state_), .tensors = {}, .files = {}, .marks = {}};
  const std::vector<Tensor> weights = run::whole_weights(model_.learned(), options_.ranks);
  NamedTensors& named = c.tensors[weights_file(model_)];
  for (size_t i = 0; i < weights.size(); ++i) named.emplace_back(model_.learned()[i]->name, weights[i]);
  if (const lm::MedusaHeads* heads = model_.heads(); heads != nullptr) {
    const std::vector<Tensor> whole = run::whole_weights(heads->parameters(), options_.ranks);
    NamedTensors& of_heads = c.tensors[lm::kHeadsFile];
    for (size_t i = 0; i < whole.size(); ++i) of_heads.emplace_back(heads->parameters()[i]->name, whole[i]);
  }
  if (moments_ != nullptr) {
    NamedTensors& saved = c.tensors["trainer.safetensors"];
    const auto add = [&](const char* prefix, const std::vector<Tensor>& moments) {
      for (size_t i = 0; i < moments.size(); ++i)
        saved.emplace_back(prefix + moments_->parameters()[i]->name, moments[i]);
    };
    add("adamw.m.", exchange_ != nullptr ? exchange_->whole(moments_->first_moments()) : moments_->first_moments());
    add("adamw.v.", exchange_ != nullptr ? exchange_->whole(moments_->second_moments()) : moments_->second_moments());
  }
  c.files = model_.files(model_.weights_dtype());
  run_.checkpoint(std::move(c));
  saved_step_ = state_.step;
}

void Training::restore(const run::Checkpoint& checkpoint) {
  saved_step_ = checkpoint.step;
  const auto found = checkpoint.tensors.find("trainer.safetensors");
  if (found != checkpoint.tensors.end()) saved_moments_ = found->second;
}

namespace {

Training continue_in(run::Run& run, lm::Model& model, const Task* task, const Hooks& hooks) {
  TrainState state;
  state.step = run.last_step();
  return Training(run, model, task, {}, hooks, std::move(state));
}

}  // namespace

void pretrain(run::Run& run, lm::Model& model, const Text& text, const PretrainConfig& config, const Hooks& hooks) {
  continue_in(run, model, nullptr, hooks).pretrain(text, config);
}

void medusa(run::Run& run, lm::Model& model, const Text& text, const MedusaTrainConfig& config, const Hooks& hooks) {
  continue_in(run, model, nullptr, hooks).medusa(text, config);
}

void sft(run::Run& run, lm::Model& model, const Task& task, const SftConfig& config, const Hooks& hooks) {
  continue_in(run, model, &task, hooks).sft(config);
}

void k15(run::Run& run, lm::Model& model, const Task& task, const K15Config& config, const Hooks& hooks) {
  continue_in(run, model, &task, hooks).k15(config);
}

}  // namespace gradus::posttrain
