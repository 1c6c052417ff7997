#include "gradus/posttrain/reward_program.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "gradus/core/error.h"
#include "gradus/core/json.h"

namespace gradus::posttrain {
namespace {

using Json = nlohmann::ordered_json;  // components keep the program's order

// As a JSON string in ASCII, so that an error message is one printable line.
std::string quoted(std::string_view text, size_t n_bytes = 200) {
  return Json(std::string(text.substr(0, n_bytes)))
      .dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

std::string json_string(std::string_view text) {
  return write_json(Json(std::string(text)));
}

std::optional<double> number(const Json& value) {
  if (value.is_boolean()) return value.get<bool>() ? 1.0 : 0.0;
  if (value.is_number()) return value.get<double>();
  return std::nullopt;
}

// Nothing when the line is not JSON, or is nested deeper than a reply can be.
std::optional<Json> parse(std::string_view line) {
  bool too_deep = false;
  const auto keep_if_flat = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > 1;
    return !too_deep;
  };
  try {
    Json reply = Json::parse(line.begin(), line.end(), keep_if_flat);
    if (!too_deep) return reply;
  } catch (const nlohmann::json::exception&) {  // malformed, or a number out of range: told by the caller
  }
  return std::nullopt;
}

std::optional<Reward> to_reward(const Json& reply) {
  Reward r;
  if (const auto value = number(reply)) {
    r.value = *value;
    r.correct = r.value >= 1.0;
    return r;
  }
  if (!reply.is_object() || !reply.contains("reward")) return std::nullopt;
  std::optional<bool> correct;
  for (const auto& [key, field] : reply.items()) {
    const auto value = number(field);
    if (!value || (key == "correct" && !field.is_boolean())) return std::nullopt;
    if (key == "reward") {
      r.value = *value;
    } else if (key == "correct") {
      correct = field.get<bool>();
    } else {
      r.components.emplace_back(key, *value);
    }
  }
  r.correct = correct.value_or(r.value >= 1.0);
  return r;
}

}  // namespace

std::string to_request(const Judged& sample) {
  const Problem& p = *sample.problem;
  return fmt::format(R"({{"prompt":{},"answer":{},"response":{},"row":{}}})", json_string(p.text),
                     json_string(p.answer), json_string(sample.answer), p.row.empty() ? "null" : p.row);
}

Reward parse_reply(std::string_view line, std::string_view program) {
  const auto reply = parse(line);
  const auto reward = reply ? to_reward(*reply) : std::nullopt;
  if (!reward) {
    fail(ErrorCode::corrupt,
         "reward program {}: it wrote {} but must write for each sample one line with a number, or with {{\"reward\": "
         "number, \"correct\": true or false, other numbers}}; see docs/data.md",
         program, quoted(line));
  }
  return *reward;
}

RewardProgram::RewardProgram(RewardProgramConfig config) : config_(std::move(config)), name_(config_.program.string()) {
  require(config_.batch_timeout.count() > 0, "reward program {}: the timeout is {} ms; allow at least 1 ms", name_,
          config_.batch_timeout.count());
  // A plain file name means the file here, not a program of that name on PATH.
  const bool plain = !name_.empty() && name_.find('/') == std::string::npos;
  child_ = std::make_unique<runtime::ChildProcess>(std::vector<std::string>{plain ? "./" + name_ : name_});
}

std::vector<Reward> RewardProgram::judge(std::span<const Judged> samples) {
  const std::lock_guard lock(mutex_);
  if (!child_) {
    fail(ErrorCode::peer_lost, "reward program {}: it was stopped after an error; correct it, then resume the run",
         name_);
  }
  std::vector<std::string> requests;
  requests.reserve(samples.size());
  for (const Judged& sample : samples) requests.push_back(to_request(sample));

  std::vector<Reward> rewards;
  rewards.reserve(samples.size());
  try {
    const auto replies = child_->exchange(requests, std::chrono::steady_clock::now() + config_.batch_timeout);
    for (const std::string& reply : replies) rewards.push_back(parse_reply(reply, name_));
  } catch (...) {
    child_.reset();
    throw;
  }
  return rewards;
}

ProgramJudgedTask::ProgramJudgedTask(std::shared_ptr<const Task> task, RewardProgramConfig config)
    : task_(std::move(task)), program_(std::make_unique<RewardProgram>(std::move(config))) {}

Reward ProgramJudgedTask::judge(const Problem& p, std::string_view answer) const {
  const Judged sample{&p, answer};
  return program_->judge({&sample, 1}).front();
}

}  // namespace gradus::posttrain
