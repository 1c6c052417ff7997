// Presets: TOML texts compiled in from presets/ROOM/WHAT.toml. What stands in them is the business of the room that
// trains: posttrain (language models) or rl.
#pragma once

#include <string_view>
#include <vector>

namespace gradus::run {

struct Preset {
  std::string_view room, name, text;
};
const std::vector<Preset>& presets();

// The preset WHAT of "WHAT/HOW", or of "WHAT", and HOW, "" without one. Throws invalid_argument, naming the nearest.
struct PresetChoice {
  Preset preset;
  std::string_view algorithm;
};
PresetChoice find_preset(std::string_view name);

}  // namespace gradus::run
