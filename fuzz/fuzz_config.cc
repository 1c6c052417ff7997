// A hostile config.json: read, corrupt, unsupported or an impossible shape, and what was read survives writing and
// reading.
#include "fuzz/fuzz.h"
#include "gradus/lm/hf_config.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gradus;
  fuzz::expect_only({ErrorCode::corrupt, ErrorCode::unsupported, ErrorCode::invalid_argument}, [&] {
    const lm::HfConfig c = lm::parse_config_json(fuzz::as_text(data, size), "fuzz");
    const std::string written = lm::config_json(c.model, 1, 2);
    const lm::HfConfig again = lm::parse_config_json(written, "again");
    fuzz::expect(lm::config_json(again.model, 1, 2) == written, "a configuration survives the round trip");
    fuzz::expect(c.model.n_parameters() > 0, "the number of parameters does not overflow");
  });
  return 0;
}
