// JSON Lines files of problems: reading, checking, and the split into training and held-out rows. The format that users
// see is docs/data.md. What a task does with the rows is tasks/jsonl.h.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "gradus/posttrain/task.h"

namespace gradus::posttrain {

struct DatasetConfig {
  std::filesystem::path path = {};
  // Names of the columns. Empty: the first of prompt, question, problem, input that the first row has; of answer,
  // label; and response, which any row may have. A file whose first row has `messages` and no prompt is one of chats:
  // a list of {"role", "content"} in each row, of which every reply of the role "assistant" is a problem of its own,
  // the messages before it its prompt and the reply its answer and response.
  std::string prompt_column = {};
  std::string answer_column = {};
  std::string response_column = {};
  bool answer_required = true;  // false: a row without an answer gets ""
};

struct Dataset {
  std::vector<Problem> problems;  // in file order; `text` is the prompt, `demonstration` the response, difficulty 1
  std::vector<int> lines;         // of each problem, from 1
  std::vector<bool> held_out;     // of each problem; equal prompts are on one side
  std::string prompt_column;      // as configured or detected; "" when the file has no such column
  std::string answer_column;
  std::string response_column;
  std::vector<std::string> other_columns;  // of the first row; every row's are in Problem::row

  // "prompt <- question, answer <- answer, response <- (none), others: id; 300 rows: 281 for training, 19 held out"
  std::string mapping() const;
};

// Reads the whole file. Blank lines are skipped. A prompt and a response are strings, an answer is a string or a
// number. A row is held out when Problem::hash() % 16 == 0; when that leaves no row on one side, the prompt with the
// smallest hash goes to the held-out side, or the one with the largest to the training side.
// Throws not_found or io; corrupt, naming file:line, for what is not UTF-8, not one JSON object a line of at most 64
// levels, or a row with a missing, empty or wrongly typed field; corrupt for fewer than two different prompts;
// invalid_argument for a configured column that the first row lacks (a response: that all rows lack).
Dataset read_dataset(const DatasetConfig& config);

}  // namespace gradus::posttrain
