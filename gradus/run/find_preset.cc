#include "gradus/core/edit_distance.h"
#include "gradus/core/error.h"
#include "gradus/run/presets.h"

namespace gradus::run {

PresetChoice find_preset(std::string_view name) {
  const size_t slash = name.find('/');
  const std::string_view what = name.substr(0, slash);
  const std::string_view how = slash == std::string_view::npos ? std::string_view() : name.substr(slash + 1);
  std::vector<std::string_view> names;
  std::optional<Preset> own;
  for (const Preset& p : presets()) {
    if (p.name == name && !how.empty()) own = p;
    if (p.name.find('/') == std::string_view::npos) names.push_back(p.name);
  }
  for (const Preset& p : presets()) {
    if (p.name == what) return {p, how, own};
  }
  fail(ErrorCode::invalid_argument, "there is no preset '{}'; did you mean '{}'? `gradus list presets` shows all", what,
       nearest_name(what, names));
}

}  // namespace gradus::run
