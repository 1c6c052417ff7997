// Presets: TOML texts compiled in from presets/ROOM/WHAT.toml, and from presets/ROOM/WHAT/HOW.toml what an algorithm
// wants otherwise. What stands in them is the business of the room that trains: posttrain (language models) or rl.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace gradus::run {

struct Preset {
  std::string_view room, name, text;  // name: "cartpole" or "cartpole/trpo"
};
const std::vector<Preset>& presets();

// Of "WHAT/HOW", or of "WHAT": the preset WHAT, HOW or "", and the preset WHAT/HOW, whose text goes over the other's,
// if there is one. Throws invalid_argument, naming the nearest WHAT.
struct PresetChoice {
  Preset preset;
  std::string_view algorithm;
  std::optional<Preset> own{};
};
PresetChoice find_preset(std::string_view name);

}  // namespace gradus::run
