// gradus list [algorithms|tasks|presets|dtypes] [--json]: what this binary knows.
#include <nlohmann/json.hpp>

#include "apps/gradus/command.h"
#include "gradus/core/dtype.h"
#include "gradus/posttrain/train_config.h"

namespace gradus::app {

namespace {

struct ListOptions {
  std::string what;
  bool json = false;
};

void declare(CLI::App& command, ListOptions& o) {
  command.add_option("WHAT", o.what, "algorithms, tasks, presets or dtypes [all]")
      ->check(CLI::IsMember({"algorithms", "tasks", "presets", "dtypes"}));
  command.add_flag("--json", o.json, "one JSON object per entry");
}

struct Entry {
  std::string kind, name, description, source;
};

// The first comment of a preset says what it is.
std::string first_line(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  return std::string(line.starts_with("# ") ? line.substr(2) : line);
}

std::vector<Entry> entries() {
  std::vector<Entry> out;
  for (const auto& a : posttrain::algorithms()) out.push_back({"algorithms", std::string(a.name), std::string(a.description), std::string(a.source)});
  for (const auto& t : posttrain::tasks()) out.push_back({"tasks", std::string(t.name), std::string(t.description), std::string(t.source)});
  for (const auto& p : posttrain::presets()) out.push_back({"presets", std::string(p.name), first_line(p.text), ""});
  out.push_back({"dtypes", std::string(name(DType::f32)), "weights, activations and gradients of training and sampling", ""});
  out.push_back({"dtypes", std::string(name(DType::f64)), "gradient checks on the scalar references", ""});
  return out;
}

int list(const ListOptions& o, Output& out) {
  std::string kind;
  std::vector<std::vector<std::string>> rows;
  const auto flush = [&] {
    if (!rows.empty()) out.text(format_table({{kind}, {""}, {""}}, rows) + (o.what.empty() ? "\n" : ""));
    rows.clear();
  };
  for (const Entry& e : entries()) {
    if (!o.what.empty() && e.kind != o.what) continue;
    if (o.json) {
      out.json_line({{"kind", e.kind}, {"name", e.name}, {"description", e.description}, {"source", e.source}});
      continue;
    }
    if (e.kind != kind) flush();
    kind = e.kind;
    rows.push_back({e.name, e.description, e.source});
  }
  flush();
  return kDone;
}

}  // namespace

void add_list_command(CLI::App& app, Work& work) {
  add_command(app, work, "list", "Show the algorithms, tasks, presets and dtypes of this binary", declare, list);
}

}  // namespace gradus::app
