// gradus export RUN|MODEL DIR [--merge]: the model as a folder for gradus and for `transformers`.
#include <filesystem>

#include "apps/gradus/command.h"
#include "gradus/lm/adapter.h"
#include "gradus/posttrain/train.h"

namespace gradus::app {

namespace {

struct ExportOptions {
  std::string model, folder;
  bool merge = false;
};

void declare(CLI::App& command, ExportOptions& o) {
  command.add_option("RUN|MODEL", o.model, "run folder (its latest checkpoint), or folder of a model or of adapters")
      ->required();
  command.add_option("DIR", o.folder, "where to write it; made if missing")->required();
  command.add_flag("--merge", o.merge, "low-rank adapters become part of the weights");
}

int export_model(const ExportOptions& o, Output& out) {
  const std::filesystem::path from = posttrain::model_folder_of(o.model);
  std::error_code error;
  if (std::filesystem::equivalent(from, o.folder, error)) {
    throw UsageError(fmt::format("export: {} is what it would overwrite; give another DIR", o.folder));
  }
  if (o.merge && !lm::is_adapter(from)) {
    throw UsageError(fmt::format("export: --merge is for adapters, but {} has none", from.string()));
  }
  // In fp32 nothing that is stored is rounded before the end.
  lm::Model model = lm::load(from, {.precision = nn::Precision::fp32, .read_only = true});
  if (o.merge) model.merge_lora();
  lm::save(model, o.folder);
  out.text(fmt::format("{}: {}\n", o.folder,
                       model.lora() != nullptr ? fmt::format("adapters for {}", model.lora_base()) : "a whole model"));
  return kDone;
}

}  // namespace

void add_export_command(CLI::App& app, Work& work) {
  add_command(app, work, "export", "Write a model folder, with adapters merged if asked", declare, export_model);
}

}  // namespace gradus::app
