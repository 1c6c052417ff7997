// gradus list [algorithms|envs|tasks|presets|precisions|dtypes] [--json]: what this binary knows.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/gradus/command.h"
#include "gradus/core/dtype.h"
#include "gradus/env/catalogue.h"
#include "gradus/posttrain/train_config.h"
#include "gradus/rl/train_config.h"
#include "gradus/run/presets.h"

namespace gradus::app {

namespace {

struct ListOptions {
  std::string what;
  bool json = false;
};

void declare(CLI::App& command, ListOptions& o) {
  command.add_option("WHAT", o.what, "algorithms, envs, tasks, presets, precisions or dtypes [all]")
      ->check(CLI::IsMember({"algorithms", "envs", "tasks", "presets", "precisions", "dtypes"}));
  command.add_flag("--json", o.json, "one JSON object per entry");
}

struct Entry {
  std::string kind, name, description, source;
  std::optional<FloatFormat> format{};  // of a dtype
};

// The first comment of a preset says what it is.
std::string first_line(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  return std::string(line.starts_with("# ") ? line.substr(2) : line);
}

std::vector<Entry> entries() {
  std::vector<Entry> out;
  for (const auto& a : posttrain::algorithms())
    out.push_back({"algorithms", std::string(a.name), std::string(a.description), std::string(a.source)});
  for (const auto& a : rl::algorithms())
    out.push_back({"algorithms", std::string(a.name), std::string(a.description), std::string(a.source)});
  for (const auto& e : env::environments())
    out.push_back({"envs", std::string(e.name), std::string(e.description), std::string(e.source)});
  for (const auto& t : posttrain::tasks())
    out.push_back({"tasks", std::string(t.name), std::string(t.description), std::string(t.source)});
  for (const auto& p : run::presets()) out.push_back({"presets", std::string(p.name), first_line(p.text), ""});
  for (const auto& f : nn::kPrecisions) out.push_back({"precisions", std::string(f.name), std::string(f.about), ""});
  const auto add_dtype = [&](DType dtype, const char* description) {
    out.push_back({"dtypes", std::string(name(dtype)), description, "", float_format(dtype)});
  };
  add_dtype(DType::f32, "precision=fp32, and master weights, moments, sums and losses of the 16-bit precisions");
  add_dtype(DType::f64, "precision=fp64, and gradient checks, on the scalar references");
  add_dtype(DType::bf16, "matrices and activations of precision=bf16 and bf16-pure");
  add_dtype(DType::f16, "matrices and activations of precision=fp16");
  return out;
}

// "1 sign, 8 exponent and 7 fraction bits; largest 3.39e+38, ..."
std::string describe(const FloatFormat& f) {
  return fmt::format(
      "1 sign, {} exponent and {} fraction bits; largest {:.3g}, least normal {:.3g}, least subnormal {:.3g}, epsilon "
      "{:.3g}",
      f.exponent_bits, f.fraction_bits, f.largest(), f.least_normal(), f.least_subnormal(), f.epsilon());
}

// "  k15   online policy ... (arXiv 2501.12599)", the description in a column of its own.
std::string describe(const Entry& e, size_t name_width, size_t columns) {
  const size_t indent = 2 + name_width + 2;
  std::string text = e.source.empty() ? e.description : fmt::format("{} ({})", e.description, e.source);
  if (e.format) text += "; " + describe(*e.format);
  return fmt::format("  {:<{}}  {}", e.name, name_width, wrap_words(text, indent, indent, columns));
}

nlohmann::ordered_json to_json(const Entry& e) {
  nlohmann::ordered_json j = {{"kind", e.kind}, {"name", e.name}, {"description", e.description}, {"source", e.source}};
  if (!e.format) return j;
  j["sign_bits"] = 1;
  j["exponent_bits"] = e.format->exponent_bits;
  j["fraction_bits"] = e.format->fraction_bits;
  j["largest"] = e.format->largest();
  j["least_normal"] = e.format->least_normal();
  j["least_subnormal"] = e.format->least_subnormal();
  j["epsilon"] = e.format->epsilon();
  return j;
}

int list(const ListOptions& o, Output& out) {
  std::vector<Entry> shown = entries();
  std::erase_if(shown, [&](const Entry& e) { return !o.what.empty() && e.kind != o.what; });
  size_t name_width = 0;
  for (const Entry& e : shown) name_width = std::max(name_width, e.name.size());
  const auto columns = static_cast<size_t>(std::min(out.columns(), 100));
  std::string kind;
  for (const Entry& e : shown) {
    if (o.json) {
      out.json_line(to_json(e));
      continue;
    }
    if (e.kind != kind) out.text((kind.empty() ? "" : "\n") + e.kind + '\n');
    kind = e.kind;
    out.text(describe(e, name_width, columns));
  }
  return kDone;
}

}  // namespace

void add_list_command(CLI::App& app, Work& work) {
  add_command(app, work, "list", "Show the algorithms, environments, tasks, presets and dtypes of this binary", declare,
              list);
}

}  // namespace gradus::app
