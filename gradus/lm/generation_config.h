// The generation_config.json of a Hugging Face model folder: how its authors want it to be sampled.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace gradus::lm {

// Empty: the file does not say, or there is no file.
struct GenerationDefaults {
  std::optional<bool> do_sample;
  std::optional<double> temperature;         // >= 0
  std::optional<int64_t> top_k;              // >= 0; 0 = off
  std::optional<double> top_p;               // in (0, 1]
  std::optional<double> min_p;               // in [0, 1]
  std::optional<double> repetition_penalty;  // > 0
  std::vector<int32_t> eos_ids;              // each ends an answer

  // 0 = greedy: what do_sample and temperature say together; nothing when they say nothing.
  std::optional<double> sampling_temperature() const;
};

// Other fields are ignored. `origin` names the source in errors. Throws corrupt when the text is not a JSON object or a
// field has a wrong type, invalid_argument when a number is out of range.
GenerationDefaults parse_generation_config(std::string_view text, std::string_view origin);

}  // namespace gradus::lm
