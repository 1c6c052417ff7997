// Configuration: a struct names its fields once, and from that one list come reading TOML and `key=value` overrides,
// writing the resolved TOML, and the help text. What values make sense together is the business of whoever uses them.
//
//   struct K15Config {
//     int64_t iterations = 40;
//     double tau = 0.5;
//     template <class F>
//     void fields(F& f) {
//       f("iterations", iterations, "RL iterations");
//       f("tau", tau, "strength of the pull towards the policy that sampled");
//     }
//   };
//   struct Config {
//     int64_t seed = 0;
//     K15Config k15;
//     template <class F>
//     void fields(F& f) {
//       f("seed", seed, "key of all randomness");
//       f.section("k15", k15);
//     }
//   };
//   Config config = read_config<Config>({{"chain.toml", text}}, {"k15.iterations=3"});
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace gradus::run {

using FieldPointer =
    std::variant<int64_t*, double*, bool*, std::string*, std::vector<int64_t>*, std::vector<std::string>*>;

struct Field {
  std::string path;  // "k15.iterations"
  FieldPointer value;
  std::string help;
};

// What a struct's `fields` is called with; collects the list.
class FieldList {
 public:
  // One of the six types of FieldPointer; the value at the time of reading is the default.
  template <class T>
  void operator()(std::string_view key, T& value, std::string_view help) {
    fields_.push_back({prefix_ + std::string(key), FieldPointer(&value), std::string(help)});
  }
  // The fields of another struct under `key.`; sections nest.
  template <class Section>
  void section(std::string_view key, Section& section) {
    const std::string outer = std::exchange(prefix_, prefix_ + std::string(key) + '.');
    section.fields(*this);
    prefix_ = outer;
  }
  std::vector<Field> take() && { return std::move(fields_); }

 private:
  std::string prefix_;
  std::vector<Field> fields_;
};

// The fields of `config`; they point into it.
template <class Config>
std::vector<Field> fields_of(Config& config) {
  FieldList list;
  config.fields(list);
  return std::move(list).take();
}

struct ConfigText {
  std::string origin{};  // names the source in errors: "chain.toml"
  std::string text{};    // TOML
};

// Whether a text sets `key`, or has it as a section. Throws invalid_argument on malformed TOML.
bool defines(const ConfigText& text, std::string_view key);

// Sets `fields` from the texts in order, then from the overrides in order; a later one wins.
//   overrides  "dotted.key=value", value as in TOML. A text needs no quotes; a list may drop its brackets:
//   stages=4,6,8.
// An integer is welcome where a number is expected, and 1e3 where an integer is. Throws invalid_argument, naming the
// source and, in a text, the line: unknown key (with the nearest known one), wrong type, malformed TOML. Fields set
// before the error stay set.
void read_config(const std::vector<Field>& fields, const std::vector<ConfigText>& texts,
                 const std::vector<std::string>& overrides);

template <class Config>
Config read_config(const std::vector<ConfigText>& texts, const std::vector<std::string>& overrides,
                   Config config = Config()) {
  read_config(fields_of(config), texts, overrides);
  return config;
}

// TOML of all fields with their help as comments; reading it back gives equal values.
std::string write_config(const std::vector<Field>& fields);

template <class Config>
std::string write_config(Config config) {
  return write_config(fields_of(config));
}

// One line a field: path, type, current value, help; in columns.
std::string describe_config(const std::vector<Field>& fields);

}  // namespace gradus::run
