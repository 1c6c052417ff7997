// The configuration of `gradus train WHAT/HOW key=value ...` in an environment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gradus/rl/train_config.h"
#include "gradus/run/config.h"
#include "gradus/run/presets.h"

namespace gradus::bench {

inline rl::TrainConfig preset_config(std::string_view preset, std::vector<std::string> settings) {
  const run::PresetChoice choice = run::find_preset(preset);
  std::vector<run::ConfigText> texts = {{std::string(preset), std::string(choice.preset.text)}};
  if (choice.own) texts.push_back({std::string(preset), std::string(choice.own->text)});
  settings.insert(settings.begin(), fmt::format("algorithm={}", choice.algorithm));
  auto config = run::read_config<rl::TrainConfig>(texts, settings);
  config.check();
  return config;
}

}  // namespace gradus::bench
