// A hostile map: an environment that can be walked, or invalid_argument.
#include "fuzz/fuzz.h"
#include "gradus/env/grid_world.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gradus;
  fuzz::expect_only({ErrorCode::invalid_argument}, [&] {
    const auto mdp = env::grid_world({.map = std::string(fuzz::as_text(data, size)), .target_is_terminal = true});
    fuzz::expect(mdp->picture()->rows * mdp->picture()->columns == mdp->n_states(), "a state for every cell");
  });
  return 0;
}
