#include "gradus/run/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>

#include "gradus/core/edit_distance.h"
#include "gradus/core/error.h"

namespace gradus::run {

namespace {

constexpr std::string_view kTypeNames[] = {"an integer", "a number",           "true or false",
                                           "a text",     "a list of integers", "a list of texts"};

std::string_view type_name(const FieldPointer& value) {
  return kTypeNames[value.index()];
}

// ---- TOML's way of writing a value ----

std::string toml_text(int64_t v) {
  return fmt::format("{}", v);
}

std::string toml_text(bool v) {
  return v ? "true" : "false";
}

std::string toml_text(double v) {
  std::string s = fmt::format("{}", v);  // the shortest text that reads back as v
  if (std::isfinite(v) && s.find_first_of(".e") == s.npos) s += ".0";
  return s;
}

std::string toml_text(const std::string& v) {
  std::string s = "\"";
  for (const char c : v) {
    if (c == '"' || c == '\\') {
      s += {'\\', c};
    } else if (c == '\n') {
      s += "\\n";
    } else if (c == '\t') {
      s += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      s += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
    } else {
      s += c;
    }
  }
  return s + '"';
}

template <class T>
std::string toml_text(const std::vector<T>& v) {
  std::string s = "[";
  for (size_t i = 0; i < v.size(); ++i) s += (i ? ", " : "") + toml_text(v[i]);
  return s + ']';
}

std::string toml_text(const FieldPointer& value) {
  return std::visit([](const auto* p) { return toml_text(*p); }, value);
}

// ---- the nearest known key ----

std::string_view last_part(std::string_view path) {
  return path.substr(path.rfind('.') + 1);
}

// A key in the wrong section, or without its section, counts as one mistake.
size_t distance(std::string_view given, std::string_view known) {
  return std::min(edit_distance(given, known), 1 + edit_distance(last_part(given), last_part(known)));
}

std::string_view nearest(std::string_view given, const std::vector<Field>& fields) {
  GRADUS_CHECK(!fields.empty());
  return std::min_element(
             fields.begin(), fields.end(),
             [&](const Field& a, const Field& b) { return distance(given, a.path) < distance(given, b.path); })
      ->path;
}

// ---- from a TOML node to a field ----

bool assign(int64_t& out, const toml::node& node) {
  if (const auto* i = node.as_integer()) return out = i->get(), true;
  const auto* d = node.as_floating_point();  // 1e3 is an integer to people
  constexpr double kExact = 9007199254740992.0;
  if (d == nullptr || std::trunc(d->get()) != d->get() || std::abs(d->get()) > kExact) return false;
  out = static_cast<int64_t>(d->get());
  return true;
}

bool assign(double& out, const toml::node& node) {
  if (const auto* d = node.as_floating_point()) return out = d->get(), true;
  const auto* i = node.as_integer();
  if (i == nullptr) return false;
  out = static_cast<double>(i->get());
  return true;
}

bool assign(bool& out, const toml::node& node) {
  const auto* b = node.as_boolean();
  return b != nullptr && (out = b->get(), true);
}

bool assign(std::string& out, const toml::node& node) {
  const auto* s = node.as_string();
  return s != nullptr && (out = s->get(), true);
}

template <class T>
bool assign(std::vector<T>& out, const toml::node& node) {
  const auto* array = node.as_array();
  if (array == nullptr) return false;
  std::vector<T> values(array->size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!assign(values[i], (*array)[i])) return false;
  }
  out = std::move(values);
  return true;
}

// The value as the user wrote it, in TOML's words.
std::string describe(const toml::node& node) {
  std::ostringstream text;
  node.visit([&](const auto& n) {
    if constexpr (toml::is_table<decltype(n)>) {
      text << "a section";
    } else {
      text << n;
    }
  });
  return std::move(text).str();
}

std::string at(std::string_view origin, const toml::source_region& source) {
  return fmt::format("{} line {}", origin, source.begin.line);
}

toml::table parse(const ConfigText& source) {
  try {
    return toml::parse(source.text, source.origin);
  } catch (const toml::parse_error& e) {
    fail(ErrorCode::invalid_argument, "configuration: {}: {}", at(source.origin, e.source()), e.description());
  }
}

struct Reader {
  const std::vector<Field>& fields;

  const Field* find(std::string_view path) const {
    const auto it = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.path == path; });
    return it == fields.end() ? nullptr : &*it;
  }

  // Some key of the section `path`, or nullptr if there is no such section.
  const Field* first_in_section(std::string_view path) const {
    const std::string prefix = std::string(path) + '.';
    const auto it =
        std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.path.starts_with(prefix); });
    return it == fields.end() ? nullptr : &*it;
  }

  void set(std::string_view path, const toml::node& node, std::string_view source) const {
    const Field* field = find(path);
    if (field == nullptr) refuse(path, source);
    const bool ok = std::visit([&](auto* p) { return assign(*p, node); }, field->value);
    require(ok, "configuration: {} is {}, but {} gives {}", path, type_name(field->value), source, describe(node));
  }

  [[noreturn]] void refuse(std::string_view path, std::string_view source) const {
    if (const Field* inside = first_in_section(path)) {
      fail(ErrorCode::invalid_argument, "configuration: {} is a section ({}); set one of its keys, such as {}", path,
           source, inside->path);
    }
    fail(ErrorCode::invalid_argument, "configuration: unknown key {} ({}); the nearest known key is {}", path, source,
         nearest(path, fields));
  }

  void read(const toml::table& table, const std::string& prefix, std::string_view origin) const {
    for (const auto& [key, node] : table) {
      const std::string path = prefix + std::string(key.str());
      const toml::table* section = node.as_table();
      const bool known_section = first_in_section(path) != nullptr;
      // The first key of an unknown section is refused, at that key's line.
      const bool unknown_section = section != nullptr && find(path) == nullptr && !section->empty();
      if (section != nullptr && (known_section || unknown_section)) {
        read(*section, path + '.', origin);
      } else {
        set(path, node, at(origin, key.source()));
      }
    }
  }

  void read(const ConfigText& source) const { read(parse(source), "", source.origin); }

  void override_with(const std::string& assignment) const;
};

// ---- overrides ----

std::string_view trimmed(std::string_view s) {
  const size_t begin = s.find_first_not_of(" \t");
  if (begin == s.npos) return {};
  return s.substr(begin, s.find_last_not_of(" \t") - begin + 1);
}

std::optional<toml::table> parse_value(std::string_view toml_value) {
  try {
    toml::table table = toml::parse(fmt::format("v = {}", toml_value));
    if (table.size() == 1) return table;  // a line break in the value could bring further keys
  } catch (const toml::parse_error&) {
  }
  return std::nullopt;
}

// "a, b" and "[a, b]" with unquoted items.
std::string quoted_items(std::string_view list) {
  if (list.starts_with('[') && list.ends_with(']')) list = list.substr(1, list.size() - 2);
  std::vector<std::string> items;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    if (const auto item = trimmed(list.substr(begin, end - begin)); !item.empty()) items.emplace_back(item);
    begin = end + 1;
  }
  return toml_text(items);
}

// What an override may look like depends on what its key expects: quotes around a text and brackets around a list are
// optional.
std::vector<std::string> readings(std::string_view value, const FieldPointer& expected) {
  const std::string as_given(value), as_list = fmt::format("[{}]", value);
  if (std::holds_alternative<std::string*>(expected)) {
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'')) return {as_given, toml_text(as_given)};
    return {toml_text(as_given)};
  }
  if (std::holds_alternative<std::vector<int64_t>*>(expected)) {
    return value.starts_with('[') ? std::vector{as_given} : std::vector{as_list};
  }
  if (std::holds_alternative<std::vector<std::string>*>(expected)) return {as_given, as_list, quoted_items(value)};
  return {as_given};
}

void Reader::override_with(const std::string& assignment) const {
  const size_t equals = assignment.find('=');
  require(equals != assignment.npos && equals > 0, "configuration: override '{}' is not of the form key=value",
          assignment);
  const std::string path(trimmed(std::string_view(assignment).substr(0, equals)));
  const std::string_view value = trimmed(std::string_view(assignment).substr(equals + 1));
  const Field* field = find(path);
  if (field == nullptr) refuse(path, "override");
  for (const std::string& text : readings(value, field->value)) {
    const auto table = parse_value(text);
    if (table && std::visit([&](auto* p) { return assign(*p, *table->get("v")); }, field->value)) return;
  }
  fail(ErrorCode::invalid_argument, "configuration: {} is {}, but the override gives '{}'", path,
       type_name(field->value), value);
}

std::string_view section_of(std::string_view path) {
  const size_t dot = path.rfind('.');
  return dot == path.npos ? std::string_view{} : path.substr(0, dot);
}

}  // namespace

bool defines(const ConfigText& text, std::string_view key) {
  return parse(text).contains(key);
}

void read_config(const std::vector<Field>& fields, const std::vector<ConfigText>& texts,
                 const std::vector<std::string>& overrides) {
  const Reader reader{fields};
  for (const ConfigText& text : texts) reader.read(text);
  for (const std::string& assignment : overrides) reader.override_with(assignment);
}

std::string write_config(const std::vector<Field>& fields) {
  std::vector<std::string_view> sections{
      ""};  // keys without a section come first: behind a header they would belong to it
  for (const Field& f : fields) {
    if (std::find(sections.begin(), sections.end(), section_of(f.path)) == sections.end())
      sections.push_back(section_of(f.path));
  }
  std::string out;
  for (const std::string_view section : sections) {
    if (!section.empty()) out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", section);
    for (const Field& f : fields) {
      if (section_of(f.path) == section)
        out += fmt::format("{} = {}  # {}\n", last_part(f.path), toml_text(f.value), f.help);
    }
  }
  return out;
}

std::string describe_config(const std::vector<Field>& fields) {
  size_t path_width = 0, value_width = 0;
  for (const Field& f : fields) {
    path_width = std::max(path_width, f.path.size());
    value_width = std::max(value_width, toml_text(f.value).size());
  }
  std::string out;
  for (const Field& f : fields) {
    out += fmt::format("{:<{}}  {:<{}}  {} ({})\n", f.path, path_width, toml_text(f.value), value_width, f.help,
                       type_name(f.value));
  }
  return out;
}

}  // namespace gradus::run
