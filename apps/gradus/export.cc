// gradus export RUN|MODEL DIR [--merge] [--precision NAME] [--shard-gb X]: the model as a folder for gradus and for
// `transformers`.
#include <algorithm>
#include <filesystem>

#include "apps/gradus/command.h"
#include "gradus/lm/adapter.h"
#include "gradus/posttrain/train.h"

namespace gradus::app {

namespace {

struct ExportOptions {
  std::string model, folder;
  bool merge = false;
  std::string precision;
  double shard_gb = static_cast<double>(lm::kShardBytes) * 1e-9;
};

void declare(CLI::App& command, ExportOptions& o) {
  command.add_option("RUN|MODEL", o.model, "run folder (its latest checkpoint), or folder of a model or of adapters")
      ->required();
  command.add_option("DIR", o.folder, "where to write it; made if missing")->required();
  command.add_flag("--merge", o.merge, "low-rank adapters become part of the weights");
  command.add_option("--precision", o.precision, "fp32, bf16 or fp16 [as the weights are stored]")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}));
  command.add_option("--shard-gb", o.shard_gb, "the largest file of weights")
      ->check(at_least(0.0001))
      ->capture_default_str();
}

int export_model(const ExportOptions& o, Output& out) {
  const std::filesystem::path from = posttrain::model_folder_of(o.model);
  std::error_code error;
  if (std::filesystem::equivalent(from, o.folder, error)) {
    throw UsageError(fmt::format("export: {} is what it would overwrite; give another DIR", o.folder));
  }
  const bool has_adapters = lm::is_adapter(from);
  if (o.merge && !has_adapters) {
    throw UsageError(fmt::format("export: --merge is for adapters, but {} has none", from.string()));
  }
  // Weights as they are stored need no room of their own; sums with adapters are rounded once, at the end.
  const nn::Precision precision = has_adapters ? nn::Precision::fp32 : lm::stored_precision(from);
  lm::Model model = lm::load(from, {.precision = precision, .read_only = true});
  if (o.merge) model.merge_lora();
  lm::SaveOptions options{.shard_bytes = static_cast<int64_t>(std::min(o.shard_gb, 1e9) * 1e9)};
  if (!o.precision.empty()) options.dtype = nn::formats(nn::precision_from_name(o.precision)).matrices;
  lm::save(model, o.folder, options);
  out.text(fmt::format("{}: {}\n", o.folder,
                       model.lora() != nullptr ? fmt::format("adapters for {}", model.lora_base()) : "a whole model"));
  return kDone;
}

}  // namespace

void add_export_command(CLI::App& app, Work& work) {
  add_command(app, work, "export", "Write a model as a folder that `transformers` loads, adapters merged if asked",
              declare, export_model);
}

}  // namespace gradus::app
