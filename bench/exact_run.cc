#include "bench/exact_run.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/kernels/isa.h"
#include "gradus/posttrain/train.h"

namespace gradus::bench {

namespace {

namespace fs = std::filesystem;

constexpr size_t kRequestsAtOnce = 4096;  // bounds the memory of the texts and requests

// Folders of finished checkpoints; those being written or deleted have a suffix behind the number.
std::vector<fs::path> checkpoints_of(const run::RunPaths& paths) {
  std::vector<fs::path> folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(paths.checkpoints())) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.find_first_not_of("0123456789", 5) == name.npos)
      folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

class RunCheck {
 public:
  RunCheck(const fs::path& directory, const Sink& sink, ExactTotals& totals)
      : paths_{directory}, sink_(sink), totals_(totals), config_(posttrain::config_of_run(directory)) {
    latest_ = run::latest_checkpoint(paths_.checkpoints());
    if (!latest_)
      fail(ErrorCode::not_found, "bench exact: {} has no checkpoint yet; try again later", directory.string());
    run::Database database(paths_.database(), run::Database::Mode::read);
    for (run::Rollout& r : database.rollouts()) stored_[r.iteration].push_back(std::move(r));
    if (stored_.empty()) {
      fail(ErrorCode::not_found, "bench exact: {} has no rollouts; `gradus bench exact` checks models of its own",
           directory.string());
    }
  }

  // Weights of a checkpoint taken after iteration i sampled iteration i + 1.
  void check_recorded() {
    if (recorded_isa(paths_.directory) != name(kernels::active_isa()))
      return;  // other bits are legitimate; exact() has switched where it could
    for (const fs::path& folder : checkpoints_of(paths_)) {
      const run::Checkpoint checkpoint = run::load_checkpoint(folder);
      const auto state = posttrain::parse_train_state(checkpoint.state, folder.string());
      const auto found = stored_.find(state.k15.iteration + 1);
      if (state.phase == "sft" || found == stored_.end()) continue;
      lm::Model model = posttrain::load_model(folder, config_.precision);
      const std::vector<posttrain::Rollout> rollouts = to_rollouts(found->second, model.tokenizer());
      emit("recorded", folder, found->first, rollouts,
           posttrain::mismatch_max(model, rollouts, temperature(), max_rows()));
    }
  }

  void check_sampled() {
    lm::Model model = posttrain::load_model(*latest_, config_.precision);
    const auto state = posttrain::parse_train_state(run::load_checkpoint(*latest_).state, latest_->string());
    std::vector<std::vector<int32_t>> prompts;
    for (const auto& [iteration, rollouts] : stored_) {
      for (const run::Rollout& r : rollouts) prompts.push_back(model.tokenizer().encode(r.prompt));
    }
    std::vector<posttrain::Rollout> all;
    for (size_t begin = 0; begin < prompts.size(); begin += kRequestsAtOnce) {
      std::vector<lm::SampleRequest> requests;
      for (size_t i = begin; i < std::min(prompts.size(), begin + kRequestsAtOnce); ++i)
        requests.push_back({prompts[i], i});
      auto some = sample_rollouts(model, requests,
                                  {.max_tokens = config_.k15.max_tokens,
                                   .temperature = temperature(),
                                   .seed = static_cast<uint64_t>(config_.seed)});
      std::move(some.begin(), some.end(), std::back_inserter(all));
    }
    emit("sampled", *latest_, state.k15.iteration, all, posttrain::mismatch_max(model, all, temperature(), max_rows()));
    totals_.add_control(control_one_ulp(model, all, temperature(), max_rows()));
  }

 private:
  double temperature() const { return config_.k15.temperature; }
  int64_t max_rows() const { return config_.k15.max_rows; }

  static std::vector<posttrain::Rollout> to_rollouts(const std::vector<run::Rollout>& stored,
                                                     const lm::Tokenizer& tokenizer) {
    std::vector<posttrain::Rollout> out;
    for (const run::Rollout& r : stored) {
      posttrain::Rollout rollout;
      rollout.tokens = tokenizer.encode(r.prompt);
      rollout.prompt_tokens = static_cast<int64_t>(rollout.tokens.size());
      rollout.tokens.insert(rollout.tokens.end(), r.tokens.begin(), r.tokens.end());
      rollout.log_probs = r.log_probs;
      out.push_back(std::move(rollout));
    }
    return out;
  }

  void emit(const char* what, const fs::path& checkpoint, int64_t iteration,
            std::span<const posttrain::Rollout> rollouts, double mismatch) {
    totals_.add_mismatch(mismatch);
    sink_({{"what", what},
           {"checkpoint", checkpoint.filename().string()},
           {"iteration", iteration},
           {"isa", std::string(name(kernels::active_isa()))},
           {"rollouts", static_cast<int64_t>(rollouts.size())},
           {"tokens", response_tokens(rollouts)},
           {"mismatch_max", mismatch}});
  }

  run::RunPaths paths_;
  const Sink& sink_;
  ExactTotals& totals_;
  posttrain::TrainConfig config_;
  std::optional<fs::path> latest_;
  std::map<int64_t, std::vector<run::Rollout>> stored_;  // by iteration
};

}  // namespace

std::string recorded_isa(const fs::path& directory) {
  const fs::path path = run::RunPaths{directory}.record();
  if (!fs::exists(path)) {
    fail(ErrorCode::not_found, "bench exact: {} is no run; give a folder that `gradus train` made", directory.string());
  }
  try {
    return parse_json(read_file(path), path.string()).at("record").at("isa").get<std::string>();
  } catch (const nlohmann::json::exception& e) {
    fail(ErrorCode::corrupt, "bench exact: {} does not say the instruction set: {}", path.string(), e.what());
  }
}

void exact_run(const fs::path& directory, const Sink& sink, ExactTotals& totals) {
  RunCheck check(directory, sink, totals);
  check.check_recorded();
  check.check_sampled();
}

}  // namespace gradus::bench
