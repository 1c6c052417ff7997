#include "gradus/posttrain/tasks/jsonl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>

#include "gradus/core/error.h"

namespace gradus::posttrain {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using testing::ThrowsMessage;

class TempFile {
 public:
  explicit TempFile(const std::string& bytes) {
    static std::atomic<int> n_files{0};
    path_ = std::filesystem::temp_directory_path() / fmt::format("gradus_jsonl_{}_{}.jsonl", getpid(), n_files++);
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~TempFile() { std::filesystem::remove(path_); }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

Dataset read(const std::string& bytes, DatasetConfig config = {}) {
  const TempFile file(bytes);
  config.path = file.path();
  return read_dataset(config);
}

Jsonl load(const std::string& bytes, JsonlConfig config = {}) {
  const TempFile file(bytes);
  config.data.path = file.path();
  return Jsonl(config);
}

std::string sums(int n, const std::string& extra = "") {
  std::string rows;
  for (int i = 0; i < n; ++i) rows += fmt::format(R"({{"prompt":"{0}+1","answer":"{1}"{2}}})", i, i + 1, extra) + "\n";
  return rows;
}

const char* const kTwoRows = R"({"prompt":"1+1","answer":"2"}
{"prompt":"1+2","answer":"3"}
)";

// The file has a good first row; the second one is `row`.
void expect_row_error(const std::string& row, const std::string& message, DatasetConfig config = {}) {
  EXPECT_THAT([&] { read("{\"prompt\":\"1+1\",\"answer\":\"2\",\"response\":\"=2\"}\n" + row + "\n", config); },
              ThrowsMessage<Error>(AllOf(HasSubstr(".jsonl:2: "), HasSubstr(message))))
      << row;
}

TEST(Dataset, DetectsTheColumns) {
  EXPECT_THAT(read(kTwoRows).mapping(),
              StartsWith("prompt <- prompt, answer <- answer, response <- (none); 2 rows: 1 for training, 1 held out"));
  const Dataset d = read(R"({"id":1,"question":"1+1","answer":2,"response":"=2","from":"me"}
{"id":2,"question":"1+2","answer":3.5,"response":null}
)");
  EXPECT_THAT(d.mapping(),
              StartsWith("prompt <- question, answer <- answer, response <- response, others: id, from; 2 rows"));
  EXPECT_EQ(d.problems[0].text, "1+1");
  EXPECT_EQ(d.problems[0].answer, "2");
  EXPECT_EQ(d.problems[0].demonstration, "=2");
  EXPECT_EQ(d.problems[1].answer, "3.5");
  EXPECT_EQ(d.problems[1].demonstration, "");
  EXPECT_EQ(d.problems[1].row, R"({"id":2,"question":"1+2","answer":3.5,"response":null})");
}

TEST(Dataset, TakesTheConfiguredColumns) {
  const char* const rows = R"({"prompt":"no","q":"1+1","a":"2"}
{"prompt":"no","q":"1+2","a":"3"}
)";
  EXPECT_EQ(read(rows, {.prompt_column = "q", .answer_column = "a"}).problems[1].text, "1+2");
  EXPECT_THAT([&] { read(rows, {.prompt_column = "quest"}); },
              ThrowsMessage<Error>(HasSubstr(":1: no column `quest`; the columns are: prompt, q, a")));
}

TEST(Dataset, AnyRowMayHaveTheResponse) {
  const Dataset d = read("{\"prompt\":\"a\",\"answer\":1}\n{\"prompt\":\"b\",\"answer\":2,\"response\":\"=2\"}\n");
  EXPECT_EQ(d.response_column, "response");
  EXPECT_EQ(d.problems[0].demonstration, "");
  EXPECT_EQ(d.problems[1].demonstration, "=2");
  EXPECT_THAT([] { read(kTwoRows, {.response_column = "solution"}); },
              ThrowsMessage<Error>(HasSubstr("no row has the column `solution`; correct response_column")));
}

TEST(Dataset, SkipsBlankLinesAndTakesWindowsLineEndsAndAByteOrderMark) {
  const Dataset d =
      read("\xef\xbb\xbf{\"prompt\":\"a\",\"answer\":\"1\"}\r\n\r\n  \n{\"prompt\":\"b\",\"answer\":\"2\"}");
  ASSERT_EQ(d.problems.size(), 2u);
  EXPECT_EQ(d.lines, (std::vector<int>{1, 4}));
  EXPECT_EQ(d.problems[0].row, R"({"prompt":"a","answer":"1"})");
}

TEST(Dataset, NamesFileAndLineOfABadRow) {
  expect_row_error(R"({"prompt":"1+2","answer":)", "malformed JSON at byte 26; each line must be one JSON object");
  expect_row_error(R"({"prompt":"1+2","answer":"3"} x)", "malformed JSON");
  expect_row_error(R"({"prompt":"1+2","answer":1e999})", "malformed JSON");
  expect_row_error(R"({"prompt":"\ud800","answer":"3"})", "malformed JSON");
  expect_row_error(R"(["1+2","3"])", "a JSON array but each line must be one JSON object");
  expect_row_error(R"("x")", "a JSON string but");
  expect_row_error(R"({"answer":"3"})", "`prompt` is missing or empty");
  expect_row_error(R"({"prompt":" ","answer":"3"})", "`prompt` is missing or empty");
  expect_row_error(R"({"prompt":"1+2"})", "`answer` is missing or empty; every row needs an answer");
  expect_row_error(R"({"prompt":"1+2","answer":""})", "`answer` is missing or empty");
  expect_row_error(R"({"prompt":"1+2","answer":null})", "`answer` is missing or empty");
  expect_row_error(R"({"prompt":"1+2","answer":true})", "`answer` is a JSON boolean but must be a string or a number");
  expect_row_error(R"({"prompt":["1+2"],"answer":"3"})", "`prompt` is a JSON array but must be a string");
  expect_row_error(R"({"prompt":"1+2","answer":"3","response":3})", "`response` is a JSON number but must be a string");
  expect_row_error(R"({"prompt":"1+2","answer":"3","x":)" + std::string(100, '[') + std::string(100, ']') + "}",
                   "nested deeper than 64 levels");
}

TEST(Dataset, NamesTheByteThatIsNotUtf8) {
  for (const char* bad :
       {"\xff", "\x80", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe4\xb8", "\xf0\x9f\x98"}) {
    expect_row_error("{\"prompt\":\"" + std::string(bad) + "\",\"answer\":\"3\"}", "byte 12 is not valid UTF-8");
  }
  EXPECT_EQ(
      read("{\"prompt\":\"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\",\"answer\":\"3\"}\n{\"prompt\":\"b\",\"answer\":1}")
          .problems.size(),
      2u);
}

TEST(Dataset, NamesWhatTheFirstRowLacks) {
  EXPECT_THAT([] { read(R"({"text":"1+1","answer":"2"})"); },
              ThrowsMessage<Error>(HasSubstr(":1: no prompt; add a field `prompt`")));
  EXPECT_THAT([] { read(R"({"prompt":"1+1","text":"2"})"); },
              ThrowsMessage<Error>(HasSubstr(":1: no answer; add a field `answer`")));
}

TEST(Dataset, RefusesAFileWithoutRowsOrWithOnePromptOrNone) {
  EXPECT_THAT([] { read(""); }, ThrowsMessage<Error>(HasSubstr("no rows; write one JSON object a line")));
  EXPECT_THAT([] { read("\n \n"); }, ThrowsMessage<Error>(HasSubstr("no rows")));
  EXPECT_THAT([] { read(sums(1) + sums(1)); },
              ThrowsMessage<Error>(HasSubstr("only one prompt; at least two are needed")));
  EXPECT_THROW(read_dataset({.path = "/no/such/file.jsonl"}), Error);
}

TEST(Dataset, ReadsAnyBytesOrThrowsError) {
  const std::string good = sums(3, R"(,"response":"so =1","meta":{"a":[1,2,{"b":null}]})");
  for (uint64_t i = 0; i < 2000; ++i) {
    std::string bytes = good;
    Rng rng(1, Purpose::test, i);
    for (int64_t n = 1 + rng.below(4); n > 0; --n) {
      const auto at = static_cast<size_t>(rng.below(static_cast<int64_t>(bytes.size())));
      bytes[at] = static_cast<char>(rng.below(256));
    }
    try {
      EXPECT_GE(read(bytes).problems.size(), 2u);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::corrupt);
    }
  }
}

TEST(DatasetSplit, EverySizeHasBothSides) {
  for (int n = 2; n <= 40; ++n) {
    const Dataset d = read(sums(n));
    const auto n_held_out = std::count(d.held_out.begin(), d.held_out.end(), true);
    EXPECT_GE(n_held_out, 1) << n;
    EXPECT_LT(n_held_out, n) << n;
  }
}

TEST(DatasetSplit, EqualPromptsAreOnOneSide) {
  const Dataset d = read(sums(30) + sums(30));
  for (size_t i = 0; i < 30; ++i) EXPECT_EQ(d.held_out[i], d.held_out[i + 30]) << i;
}

TEST(DatasetSplit, IsAboutOneInSixteen) {
  const Dataset d = read(sums(3200));
  EXPECT_NEAR(static_cast<double>(std::count(d.held_out.begin(), d.held_out.end(), true)), 200, 55);
}

TEST(Jsonl, TrainingAndHeldOutRowsAreDisjointAndComplete) {
  const Jsonl task = load(sums(40));
  std::set<std::string> held_out, training;
  for (const Problem& p : held_out_set(task, {.n = 512})) held_out.insert(p.text);
  for (uint64_t i = 0; i < 2000; ++i) {
    Rng rng(1, Purpose::data, i);
    training.insert(make_training_problem(task, rng, 1).text);
  }
  for (const std::string& text : training) EXPECT_FALSE(held_out.contains(text));
  EXPECT_EQ(held_out.size() + training.size(), 40u);
}

TEST(Jsonl, PromptEndsInThePromptEndOnce) {
  const Jsonl task = load(kTwoRows, {.prompt_end = "#"});
  Problem p;
  p.text = "1+1";
  EXPECT_EQ(task.prompt(p), "1+1#");
  p.text = "1+1#";
  EXPECT_EQ(task.prompt(p), "1+1#");
  EXPECT_EQ(load(kTwoRows).prompt(p), "1+1#\n");
}

TEST(Jsonl, JudgesTheTextAfterTheLastMark) {
  const Jsonl task = load(kTwoRows);
  Problem p;
  p.answer = "10";
  for (const char* right : {"=10", "3+7=10", "=9 =10", "= 10.0 ", "=1e1"})
    EXPECT_TRUE(task.judge(p, right).correct) << right;
  for (const char* wrong : {"", "10", "=", "=9", "=10 =9", "=10 apples"})
    EXPECT_FALSE(task.judge(p, wrong).correct) << wrong;
  EXPECT_TRUE(load(kTwoRows, {.answer_mark = ""}).judge(p, " 10\n").correct);
}

TEST(Jsonl, ResponseWithoutTheMarkGetsMarkAndAnswer) {
  const Jsonl task = load(sums(2, R"(,"response":"let me see ")"));
  Rng rng(1, Purpose::test);
  for (const Problem& p : task.all_problems()) {
    EXPECT_EQ(task.demonstration(p, rng), "let me see =" + p.answer);
    EXPECT_TRUE(task.judge(p, task.demonstration(p, rng)).correct);
  }
}

TEST(Jsonl, NamesTheRowWhoseResponseIsWrong) {
  EXPECT_THAT([] { load(sums(2, R"(,"response":"so =1")")); },
              ThrowsMessage<Error>(AllOf(HasSubstr(".jsonl:2: the response ends in \"=1\" but the answer is \"2\""))));
  EXPECT_THAT(
      [] { load("{\"prompt\":\"a\",\"answer\":\"x=1\"}\n{\"prompt\":\"b\",\"answer\":\"2\"}"); },
      ThrowsMessage<Error>(HasSubstr(".jsonl:1: the answer \"x=1\" contains the answer mark \"=\"; set answer_mark")));
  EXPECT_THAT([] { load(sums(2, R"(,"response":"so")"), {.answer_mark = ""}); },
              ThrowsMessage<Error>(HasSubstr(".jsonl:1: the response is not the answer")));
}

TEST(Jsonl, CannotStartWithoutResponsesOrAModel) {
  const Jsonl without = load(kTwoRows);
  EXPECT_FALSE(without.has_demonstrations());
  EXPECT_THROW(check_can_start(without, false), Error);
  check_can_start(without, true);
  const Jsonl with = load(sums(2, R"(,"response":"so ")"));
  EXPECT_TRUE(with.has_demonstrations());
  check_can_start(with, false);
  Rng rng(1, Purpose::data);
  EXPECT_THROW(make_warm_up_problem(without, rng, 1), Error);
}

TEST(Jsonl, WarmUpUsesOnlyTrainingRowsWithAResponse) {
  std::string rows = sums(40);
  for (int i = 100; i < 105; ++i)
    rows += fmt::format(R"({{"prompt":"{0}+1","answer":{1},"response":"hm "}})", i, i + 1) + "\n";
  const Jsonl task = load(rows);
  for (uint64_t i = 0; i < 200; ++i) {
    Rng rng(1, Purpose::data, i);
    const Problem p = make_warm_up_problem(task, rng, 1);
    EXPECT_EQ(p.demonstration, "hm =" + p.answer);
    EXPECT_FALSE(task.is_held_out(p));
  }
}

TEST(Jsonl, ProgramJudgesRowsWithoutAnswersAndLeavesResponsesAlone) {
  const char* const rows = R"({"prompt":"a","response":"x=5"}
{"prompt":"b","response":"y"}
)";
  EXPECT_THROW(load(rows), Error);
  const Jsonl task = load(rows, {.judged_by_program = true});
  EXPECT_EQ(task.all_problems()[0].demonstration, "x=5");
  EXPECT_EQ(task.all_problems()[1].demonstration, "y");
}

TEST(Jsonl, AlphabetHasEveryCharacterOfTheFile) {
  const Jsonl task = load("{\"prompt\":\"\\u00e9\",\"answer\":\"b\"}\n{\"prompt\":\"c\",\"answer\":\"d\"}");
  EXPECT_EQ(task.alphabet(), "\n=bcd\xc3\xa9");
}

TEST(Jsonl, ExampleFileIsReadAndItsResponsesAreRight) {
  const Jsonl task({.data = {.path = GRADUS_SOURCE_DIR "/examples/data/sums.jsonl"}});
  EXPECT_EQ(task.all_problems().size(), 3000u);
  EXPECT_EQ(task.alphabet(), "\n +0123456789=");
  Rng rng(1, Purpose::test);
  for (const Problem& p : task.all_problems()) EXPECT_TRUE(task.judge(p, task.demonstration(p, rng)).correct);
}

const char* const kTemplate =
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% "
    "endif %}";

const char* const kChats =
    R"({"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},{"role":"user","content":"2+2?"},{"role":"assistant","content":"=4"}]}
{"messages":[{"role":"user","content":"Bye"},{"role":"assistant","content":"See you."}]}
)";

TEST(JsonlChat, EveryReplyIsAProblemBehindTheMessagesBeforeIt) {
  const Jsonl task = load(kChats, {.chat = lm::ChatTemplate(kTemplate)});
  const lm::Tokenizer tokenizer = lm::byte_tokenizer();
  const std::vector<Problem> problems = task.all_problems();
  ASSERT_EQ(problems.size(), 3u);
  const auto seen = [&](const Problem& p) { return tokenizer.decode(task.encode_prompt(p, tokenizer)); };
  EXPECT_EQ(seen(problems[0]), "[system] Be brief.\n[user] Hi\n[assistant] ");
  EXPECT_EQ(seen(problems[1]), "[system] Be brief.\n[user] Hi\n[assistant] Hello.\n[user] 2+2?\n[assistant] ");
  EXPECT_EQ(seen(problems[2]), "[user] Bye\n[assistant] ");
  EXPECT_EQ(problems[1].demonstration, "=4");
  EXPECT_EQ(task.prompt(problems[1]), "system: Be brief.\nuser: Hi\nassistant: Hello.\nuser: 2+2?");
  EXPECT_TRUE(task.judge(problems[1], "=4").correct);
  EXPECT_FALSE(task.judge(problems[1], "=5").correct);
}

TEST(JsonlChat, APromptIsWhatAUserSays) {
  const Jsonl task = load(kTwoRows, {.chat = lm::ChatTemplate(kTemplate)});
  const lm::Tokenizer tokenizer = lm::byte_tokenizer();
  EXPECT_EQ(tokenizer.decode(task.encode_prompt(task.all_problems()[0], tokenizer)), "[user] 1+1\n[assistant] ");
  EXPECT_TRUE(task.judge(task.all_problems()[0], "one and one =2").correct);
}

TEST(JsonlChat, WhatIsSaidIsNeverASpecialToken) {
  const std::string end = "<|endoftext|>";
  const std::string rows =
      fmt::format(R"({{"messages":[{{"role":"user","content":"{0}"}},{{"role":"assistant","content":"a{0}b"}}]}}
{{"messages":[{{"role":"user","content":"x"}},{{"role":"assistant","content":"y"}}]}}
)",
                  end);
  const Jsonl task = load(rows, {.chat = lm::ChatTemplate("{{ eos_token }}{{ messages[0].content }}")});
  const lm::Tokenizer tokenizer = lm::byte_tokenizer(end);
  const std::vector<int32_t> prompt = task.encode_prompt(task.all_problems()[0], tokenizer);
  EXPECT_EQ(std::ranges::count(prompt, tokenizer.eos_id()), 1);  // the template's own
  EXPECT_EQ(prompt.size(), 1 + end.size());
  const std::vector<int32_t> reply = task.encode_response(task.all_problems()[0].demonstration, tokenizer);
  EXPECT_EQ(std::ranges::count(reply, tokenizer.eos_id()), 0);
}

TEST(JsonlChat, BadRowsAreNamed) {
  const auto message = [](const std::string& rows, bool chat = true) {
    JsonlConfig config;
    if (chat) config.chat = lm::ChatTemplate(kTemplate);
    try {
      load(rows, config);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_THAT(message(kChats, false), HasSubstr("set jsonl.chat=true"));
  const std::string good =
      R"({"messages":[{"role":"user","content":"Bye"},{"role":"assistant","content":"See you."}]})";
  EXPECT_THAT(message(good + "\n{\"messages\":[]}\n"), HasSubstr(":2: `messages` is missing, empty or no list"));
  EXPECT_THAT(message(good + "\n{\"messages\":[{\"role\":\"user\"}]}\n"), HasSubstr("must have `role` and `content`"));
  EXPECT_THAT(message(good + "\n{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}\n"),
              HasSubstr("no message of the role assistant"));
}

}  // namespace
}  // namespace gradus::posttrain
