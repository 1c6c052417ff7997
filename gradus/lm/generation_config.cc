#include "gradus/lm/generation_config.h"

#include <nlohmann/json.hpp>
#include <string>

#include "gradus/core/error.h"
#include "gradus/core/json.h"

namespace gradus::lm {

namespace {

using nlohmann::json;

class GenerationReader {
 public:
  GenerationReader(const json& document, std::string_view origin) : document_(document), origin_(origin) {}

  GenerationDefaults read() const {
    if (!document_.is_object()) fail(ErrorCode::corrupt, "{}: is not a JSON object", origin_);
    GenerationDefaults out;
    if (const json* value = find("do_sample")) {
      if (!value->is_boolean()) wrong_type("do_sample", "true or false");
      out.do_sample = value->get<bool>();
    }
    out.temperature = real("temperature", 0, 1e6);
    out.top_p = real("top_p", 1e-9, 1);
    out.min_p = real("min_p", 0, 1);
    out.repetition_penalty = real("repetition_penalty", 1e-6, 1e6);
    if (const json* value = find("top_k")) {
      if (!value->is_number_integer()) wrong_type("top_k", "a whole number");
      if (!value->is_number_unsigned() || value->get<uint64_t>() > INT32_MAX)
        fail(ErrorCode::invalid_argument, "{}: top_k is {}, but must be 0 to {}", origin_, value->dump(), INT32_MAX);
      out.top_k = value->get<int64_t>();
    }
    if (const json* value = find("eos_token_id")) {
      for (const json& id : value->is_array() ? *value : json::array({*value})) {
        if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX))
          wrong_type("eos_token_id", "a token id or a list of them");
        if (id.is_number_unsigned()) out.eos_ids.push_back(id.get<int32_t>());  // -1: none, in old files
      }
    }
    return out;
  }

 private:
  const json* find(const char* key) const {
    const auto it = document_.find(key);
    return it == document_.end() || it->is_null() ? nullptr : &*it;
  }

  [[noreturn]] void wrong_type(const char* key, std::string_view wanted) const {
    fail(ErrorCode::corrupt, "{}: {} is not {}", origin_, key, wanted);
  }

  std::optional<double> real(const char* key, double least, double greatest) const {
    const json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number()) wrong_type(key, "a number");
    const double x = value->get<double>();
    if (!(x >= least && x <= greatest)) {
      fail(ErrorCode::invalid_argument, "{}: {} is {}, but must be {} to {}", origin_, key, x, least, greatest);
    }
    return x;
  }

  const json& document_;
  std::string_view origin_;
};

}  // namespace

std::optional<double> GenerationDefaults::sampling_temperature() const {
  if (do_sample == false) return 0.0;
  if (do_sample == true) return temperature.value_or(1.0);
  return temperature;
}

GenerationDefaults parse_generation_config(std::string_view text, std::string_view origin) {
  const json document = parse_json(text, origin);
  return GenerationReader(document, origin).read();
}

}  // namespace gradus::lm
