// gradus export RUN|MODEL FOLDER [--precision NAME] [--shard-gb X]
#include <cmath>

#include "apps/gradus/command.h"
#include "gradus/posttrain/train.h"

namespace gradus::app {

namespace {

struct ExportOptions {
  std::string model, folder;
  std::string precision;
  double shard_gb = static_cast<double>(lm::kShardBytes) * 1e-9;
};

void declare(CLI::App& command, ExportOptions& o) {
  command.add_option("RUN|MODEL", o.model, "model folder, or run folder (its latest checkpoint)")->required();
  command.add_option("FOLDER", o.folder, "where the model goes, as `transformers` reads it")->required();
  command.add_option("--precision", o.precision, "fp32, bf16 or fp16 [as they are stored]")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}));
  command.add_option("--shard-gb", o.shard_gb, "the largest file of weights")
      ->check(at_least(0.0001))
      ->capture_default_str();
}

int export_model(const ExportOptions& o, Output&) {
  const std::filesystem::path from = posttrain::model_folder_of(o.model);
  const nn::Precision stored = lm::stored_precision(from);
  lm::SaveOptions options{.shard_bytes = static_cast<int64_t>(std::min(o.shard_gb, 1e9) * 1e9)};
  if (!o.precision.empty()) options.dtype = nn::formats(nn::precision_from_name(o.precision)).matrices;
  lm::save(lm::load(from, {.precision = stored, .read_only = true}), o.folder, options);
  return kDone;
}

}  // namespace

void add_export_command(CLI::App& app, Work& work) {
  add_command(app, work, "export", "Write the model of a run as a folder that `transformers` loads", declare,
              export_model);
}

}  // namespace gradus::app
