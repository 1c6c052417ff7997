#include "gradus/posttrain/dataset.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/lm/tokenizer/utf8.h"
#include "gradus/posttrain/reward.h"

namespace gradus::posttrain {
namespace {

using Json = nlohmann::ordered_json;  // keeps the user's column order

constexpr int kMaxDepth = 64;

// "data.jsonl:3"
struct Place {
  const std::filesystem::path& path;
  int line;

  template <class... Args>
  [[noreturn]] void corrupt(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::corrupt, "{}:{}: {}", path.string(), line, fmt::format(format, std::forward<Args>(args)...));
  }
};

void check_utf8(std::string_view text, const Place& place) {
  for (size_t i = 0; i < text.size();) {
    const int n_bytes = lm::decode_utf8(text.substr(i)).n_bytes;
    if (n_bytes == 0) place.corrupt("byte {} is not valid UTF-8; save the file as UTF-8", i + 1);
    i += static_cast<size_t>(n_bytes);
  }
}

Json parse_row(std::string_view text, const Place& place) {
  check_utf8(text, place);
  const auto limit_depth = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth) place.corrupt("nested deeper than {} levels; flatten the row", kMaxDepth);
    return true;
  };
  Json row;
  try {
    row = Json::parse(text.begin(), text.end(), limit_depth);
  } catch (const nlohmann::json::parse_error& e) {
    place.corrupt("malformed JSON at byte {}; each line must be one JSON object", e.byte);
  } catch (const nlohmann::json::exception&) {  // a number out of range
    place.corrupt("malformed JSON; each line must be one JSON object");
  }
  if (!row.is_object()) place.corrupt("a JSON {} but each line must be one JSON object", row.type_name());
  return row;
}

constexpr std::array<std::string_view, 4> kPromptNames = {"prompt", "question", "problem", "input"};
constexpr std::array<std::string_view, 2> kAnswerNames = {"answer", "label"};
constexpr std::string_view kResponseName = "response";
constexpr const char* kMessagesName = "messages";

std::string column_names(const Json& row) {
  std::string names;
  for (const auto& [key, value] : row.items()) names += (names.empty() ? "" : ", ") + key;
  return names;
}

// The configured name, or the first of `names` that the row has, or "".
std::string find_column(const Json& row, const std::string& configured, std::span<const std::string_view> names,
                        const Place& place) {
  if (!configured.empty()) {
    require(row.contains(configured), "{}:{}: no column `{}`; the columns are: {}", place.path.string(), place.line,
            configured, column_names(row));
    return configured;
  }
  for (const std::string_view name : names) {
    if (row.contains(std::string(name))) return std::string(name);
  }
  return "";
}

void detect_columns(const Json& row, const DatasetConfig& config, const Place& place, Dataset& data) {
  const bool has_prompt = std::ranges::any_of(kPromptNames, [&](auto name) { return row.contains(std::string(name)); });
  if (config.prompt_column.empty() && !has_prompt && row.contains(kMessagesName)) {
    data.prompt_column = data.answer_column = data.response_column = kMessagesName;
    return;
  }
  data.prompt_column = find_column(row, config.prompt_column, kPromptNames, place);
  data.answer_column = find_column(row, config.answer_column, kAnswerNames, place);
  if (data.prompt_column.empty()) place.corrupt("no prompt; add a field `prompt` or `question`");
  if (data.answer_column.empty() && config.answer_required) place.corrupt("no answer; add a field `answer`");
  data.response_column =
      config.response_column.empty() ? kResponseName : config.response_column;  // any row may have it
  for (const auto& [key, value] : row.items()) {
    if (key != data.prompt_column && key != data.answer_column && key != data.response_column) {
      data.other_columns.push_back(key);
    }
  }
}

// The field's text; nothing when the row lacks it or it is null.
std::optional<std::string> text_of(const Json& row, const std::string& column, bool number_allowed,
                                   const Place& place) {
  const auto field = row.find(column);
  if (field == row.end() || field->is_null()) return std::nullopt;
  if (field->is_string()) return field->get<std::string>();
  if (number_allowed && field->is_number()) return field->dump();
  place.corrupt("`{}` is a JSON {} but must be a string{}", column, field->type_name(),
                number_allowed ? " or a number" : "");
}

Problem to_problem(const Json& row, std::string_view line, const Dataset& data, const DatasetConfig& config,
                   const Place& place) {
  Problem p;
  p.difficulty = 1;
  p.row = std::string(line);
  p.place = fmt::format("{}:{}", place.path.string(), place.line);
  p.text = text_of(row, data.prompt_column, false, place).value_or("");
  if (trim(p.text).empty()) place.corrupt("`{}` is missing or empty; every row needs a prompt", data.prompt_column);
  p.answer = text_of(row, data.answer_column, true, place).value_or("");
  if (config.answer_required && trim(p.answer).empty()) {
    place.corrupt("`{}` is missing or empty; every row needs an answer", data.answer_column);
  }
  p.demonstration = text_of(row, data.response_column, false, place).value_or("");
  return p;
}

// The problems of a chat: a reply each.
std::vector<Problem> to_chat_problems(const Json& row, std::string_view line, const Place& place) {
  const auto messages = row.find(kMessagesName);
  if (messages == row.end() || !messages->is_array() || messages->empty())
    place.corrupt("`{}` is missing, empty or no list; every row needs one", kMessagesName);
  std::vector<Problem> problems;
  Json before = Json::array();
  for (const Json& message : *messages) {
    const bool is_message = message.is_object() && message.contains("role") && message["role"].is_string() &&
                            message.contains("content") && message["content"].is_string();
    if (!is_message) place.corrupt("a message is {} but must have `role` and `content`, both strings", message.dump());
    if (message["role"] == "assistant" && !before.empty()) {
      Problem& p = problems.emplace_back();
      p.difficulty = 1;
      p.row = std::string(line);
      p.place = fmt::format("{}:{}", place.path.string(), place.line);
      p.text = p.messages = before.dump();
      p.answer = p.demonstration = message["content"].get<std::string>();
      if (trim(p.demonstration).empty()) place.corrupt("a reply of the assistant is empty");
    }
    before.push_back(message);
  }
  if (problems.empty()) place.corrupt("no message of the role assistant after others; there is nothing to learn");
  return problems;
}

// One prompt always goes one way, and a small file has both sides.
std::vector<bool> split(const std::vector<Problem>& problems, const std::filesystem::path& path) {
  std::vector<uint64_t> hashes;
  for (const Problem& p : problems) hashes.push_back(p.hash());
  const auto [smallest, largest] = std::minmax_element(hashes.begin(), hashes.end());
  if (*smallest == *largest) {
    fail(ErrorCode::corrupt, "{}: only one prompt; at least two are needed, one to train on and one held out",
         path.string());
  }
  const auto is_held_out = [](uint64_t h) { return h % 16 == 0; };
  const bool none = std::none_of(hashes.begin(), hashes.end(), is_held_out);
  const bool all = std::all_of(hashes.begin(), hashes.end(), is_held_out);
  std::vector<bool> held_out;
  for (const uint64_t h : hashes) {
    held_out.push_back(none ? h == *smallest : all ? h != *largest : is_held_out(h));
  }
  return held_out;
}

}  // namespace

std::string Dataset::mapping() const {
  const auto shown = [](const std::string& column) { return column.empty() ? "(none)" : column; };
  const auto n_held_out = std::count(held_out.begin(), held_out.end(), true);
  std::string others;
  for (const std::string& column : other_columns) others += (others.empty() ? ", others: " : ", ") + column;
  return fmt::format("prompt <- {}, answer <- {}, response <- {}{}; {} rows: {} for training, {} held out",
                     shown(prompt_column), shown(answer_column), shown(response_column), others, problems.size(),
                     static_cast<int64_t>(problems.size()) - n_held_out, n_held_out);
}

Dataset read_dataset(const DatasetConfig& config) {
  const std::string bytes = read_file(config.path);
  Dataset data;
  bool any_response = false;
  std::string_view rest = bytes;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);  // a byte order mark
  for (int line = 1; !rest.empty(); ++line) {
    const std::string_view text = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), text.size() + 1));
    if (trim(text).empty()) continue;
    const Place place{config.path, line};
    const Json row = parse_row(text, place);
    if (data.problems.empty()) detect_columns(row, config, place, data);
    any_response = any_response || row.contains(data.response_column);
    if (data.prompt_column == kMessagesName) {
      for (Problem& p : to_chat_problems(row, trim(text), place)) {
        data.problems.push_back(std::move(p));
        data.lines.push_back(line);
      }
      continue;
    }
    data.problems.push_back(to_problem(row, trim(text), data, config, place));
    data.lines.push_back(line);
  }
  if (data.problems.empty()) {
    fail(ErrorCode::corrupt,
         "{}: no rows; write one JSON object a line, such as {{\"prompt\": \"2+2\", \"answer\": \"4\"}}",
         config.path.string());
  }
  if (!any_response) {
    require(config.response_column.empty(), "{}: no row has the column `{}`; correct response_column",
            config.path.string(), config.response_column);
    data.response_column.clear();
  }
  data.held_out = split(data.problems, config.path);
  return data;
}

}  // namespace gradus::posttrain
