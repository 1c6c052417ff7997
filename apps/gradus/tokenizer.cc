// gradus tokenizer train FILE|FOLDER... --out DIR [--vocab-size N] [--style gpt2|llama3|qwen2] [--min-frequency N]
// [--json] gradus tokenizer encode DIR [TEXT] [--file FILE] [--special-as-text] [--add-special] [--json] gradus
// tokenizer decode DIR ID... [--skip-special] [--json]
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/gradus/command.h"
#include "gradus/core/file.h"
#include "gradus/lm/tokenizer/bpe_training.h"
#include "gradus/posttrain/text.h"
#include "gradus/runtime/interrupt.h"

namespace gradus::app {

namespace {

namespace fs = std::filesystem;

struct TokenizerTrainOptions {
  std::vector<std::string> paths;
  std::string out, style = "gpt2";
  int64_t n_vocab = 8192, min_frequency = 0;
  bool json = false;
};

void declare_tokenizer_train(CLI::App& command, TokenizerTrainOptions& o) {
  command.add_option("FILE|FOLDER", o.paths, "text to learn from; folders with all files below them")->required();
  command.add_option("--out", o.out, "folder for tokenizer.json and tokenizer_config.json")->required();
  command.add_option("--vocab-size", o.n_vocab, "tokens in all")->capture_default_str();
  command.add_option("--style", o.style, "words and special tokens as in gpt2, llama3 or qwen2")->capture_default_str();
  command.add_option("--min-frequency", o.min_frequency, "a rarer pair is not merged")->capture_default_str();
  command.add_flag("--json", o.json, "one JSON object");
}

int tokenizer_train(const TokenizerTrainOptions& o, Output& out) {
  runtime::install_interrupt_handlers();
  const lm::BpeStyle style = or_usage_error([&] { return lm::bpe_style_from_name(o.style); });
  lm::WordCounter counter(style);
  int64_t n_files = 0;
  for (const std::string& path : o.paths) {
    for (const fs::path& file : posttrain::text_files(path)) {
      counter.add(read_file(file));
      ++n_files;
    }
  }
  const lm::Tokenizer tokenizer =
      lm::train_bpe(counter, {.n_vocab = o.n_vocab, .min_frequency = o.min_frequency, .style = style},
                    [] { return runtime::interrupt_requested(); });
  fs::create_directories(o.out);
  write_file_atomically(fs::path(o.out) / "tokenizer.json", lm::tokenizer_json(tokenizer));
  write_file_atomically(fs::path(o.out) / "tokenizer_config.json", lm::tokenizer_config_json(tokenizer));
  if (o.json) {
    out.json_line({{"files", n_files},
                   {"bytes", counter.n_bytes()},
                   {"skipped_lines", counter.n_skipped_lines()},
                   {"words", counter.words().size()},
                   {"n_vocab", tokenizer.n_vocab()},
                   {"out", o.out}});
  } else {
    out.text(fmt::format("{} tokens from {} different words in {} bytes of {} files, written to {}\n",
                         tokenizer.n_vocab(), counter.words().size(), counter.n_bytes(), n_files, o.out));
    if (counter.n_skipped_lines() > 0)
      out.text(fmt::format("{} lines are not UTF-8 and were passed over\n", counter.n_skipped_lines()));
  }
  return kDone;
}

struct TokenizerEncodeOptions {
  std::string folder;
  std::optional<std::string> text, file;
  bool special_as_text = false, add_special = false, json = false;
};

void declare_tokenizer_encode(CLI::App& command, TokenizerEncodeOptions& o) {
  command.add_option("DIR", o.folder, "folder with tokenizer.json")->required();
  CLI::Option* text = command.add_option("TEXT", o.text, "the text");
  command.add_option("--file", o.file, "a file with the text instead")->excludes(text);
  command.add_flag("--special-as-text", o.special_as_text, "special tokens spelled out are text");
  command.add_flag("--add-special", o.add_special, "with the tokens that the model puts around a text");
  command.add_flag("--json", o.json, "one JSON object, with the tokens' texts");
}

lm::Tokenizer read_tokenizer(const fs::path& folder) {
  const fs::path file = fs::is_directory(folder) ? folder / "tokenizer.json" : folder;
  const fs::path config = file.parent_path() / "tokenizer_config.json";
  return lm::parse_tokenizer_json(read_file(file), file.string(), fs::exists(config) ? read_file(config) : "");
}

int tokenizer_encode(const TokenizerEncodeOptions& o, Output& out) {
  if (!o.text && !o.file) throw UsageError("tokenizer encode: give a TEXT or --file");
  const lm::Tokenizer tokenizer = read_tokenizer(o.folder);
  const std::string text = o.file ? read_file(*o.file) : *o.text;
  const std::vector<int32_t> ids =
      tokenizer.encode(text, {.special_as_text = o.special_as_text, .add_special = o.add_special});
  if (!o.json) {
    out.text(fmt::format("{}\n", fmt::join(ids, " ")));
    return kDone;
  }
  std::vector<std::string> tokens;
  for (const int32_t id : ids) tokens.push_back(tokenizer.decode(std::span(&id, 1), {.replace_invalid = true}));
  out.json_line({{"ids", ids}, {"tokens", tokens}, {"bytes", text.size()}});
  return kDone;
}

struct TokenizerDecodeOptions {
  std::string folder;
  std::vector<int32_t> ids;
  bool skip_special = false, json = false;
};

void declare_tokenizer_decode(CLI::App& command, TokenizerDecodeOptions& o) {
  command.add_option("DIR", o.folder, "folder with tokenizer.json")->required();
  command.add_option("ID", o.ids, "token ids")->required();
  command.add_flag("--skip-special", o.skip_special, "without special tokens");
  command.add_flag("--json", o.json, "one JSON object");
}

int tokenizer_decode(const TokenizerDecodeOptions& o, Output& out) {
  const lm::Tokenizer tokenizer = read_tokenizer(o.folder);
  const std::string text = tokenizer.decode(o.ids, {.skip_special = o.skip_special, .replace_invalid = o.json});
  if (o.json) {
    out.json_line({{"text", text}});
  } else {
    out.text(text + "\n");
  }
  return kDone;
}

}  // namespace

void add_tokenizer_command(CLI::App& app, Work& work) {
  CLI::App* command = app.add_subcommand("tokenizer", "Train a tokenizer on text; encode and decode with one");
  command->require_subcommand(1);
  add_command(*command, work, "train", "Learn a byte-pair encoding from text", declare_tokenizer_train,
              tokenizer_train);
  add_command(*command, work, "encode", "The token ids of a text", declare_tokenizer_encode, tokenizer_encode);
  add_command(*command, work, "decode", "The text of token ids", declare_tokenizer_decode, tokenizer_decode);
}

}  // namespace gradus::app
