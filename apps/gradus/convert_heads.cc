// gradus convert-heads MODEL HEADS DIR [--layout v1|v2|vllm] [--base-model NAME]: Medusa heads from any published
// layout in one of three.
#include <filesystem>

#include "apps/gradus/command.h"
#include "gradus/lm/medusa/head_files.h"
#include "gradus/posttrain/train.h"

namespace gradus::app {

namespace {

struct ConvertHeadsOptions {
  std::string model, heads, folder, layout, base_model;
};

void declare(CLI::App& command, ConvertHeadsOptions& o) {
  command.add_option("MODEL", o.model, "folder of the model that the heads are for, or a run folder")->required();
  command.add_option("HEADS", o.heads, "folder or file of Medusa heads; a pickle is read, never run")->required();
  command.add_option("DIR", o.folder, "where to write them; made if missing")->required();
  command.add_option("--layout", o.layout, "v1 (outputs of their own), v2 (the model's) or vllm [v1 or v2]")
      ->check(CLI::IsMember({"v1", "v2", "vllm"}));
  command.add_option("--base-model", o.base_model, "the model's name in config.json [MODEL]");
}

int convert_heads(const ConvertHeadsOptions& o, Output& out) {
  // The model is mapped, not copied; its heads have master copies, which hold any 16-bit format's numbers.
  lm::Model model = lm::load(posttrain::model_folder_of(o.model), {.read_only = true});
  const lm::LoadedHeads loaded = lm::load_heads(o.heads, model.transformer());
  const lm::HeadLayout layout =
      o.layout.empty() ? lm::published_layout(*loaded.heads) : lm::head_layout_from_name(o.layout);
  lm::save_heads(*loaded.heads, o.folder,
                 {.layout = layout,
                  .base_model = o.base_model.empty() ? o.model : o.base_model,
                  .vocabulary = loaded.vocabulary,
                  .dtype = loaded.dtype});
  const lm::MedusaConfig& shape = loaded.heads->config();
  out.text(fmt::format("{}: {} heads of {} layer{} with {}{}, from {} to {}\n", o.folder, shape.heads, shape.layers,
                       shape.layers == 1 ? "" : "s", shape.own_outputs ? "outputs of their own" : "the model's output",
                       shape.reads_token ? " that see the drawn token" : "", lm::name(loaded.layout),
                       lm::name(layout)));
  return kDone;
}

}  // namespace

void add_convert_heads_command(CLI::App& app, Work& work) {
  add_command(app, work, "convert-heads", "Write Medusa heads of any published layout in another", declare,
              convert_heads);
}

}  // namespace gradus::app
