#include "gradus/rl/train_config.h"

#include "gradus/core/edit_distance.h"
#include "gradus/core/error.h"

namespace gradus::rl {

const std::vector<Named>& algorithms() {
  static const std::vector<Named> list = [] {
    std::vector<Named> all;
    for (const TabularAlgorithm& a : tabular_algorithms()) all.push_back({a.name, a.description, a.source});
    return all;
  }();
  return list;
}

void check_algorithm(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Named& a : algorithms()) names.push_back(a.name);
  if (std::ranges::find(names, name) != names.end()) return;
  fail(ErrorCode::invalid_argument,
       "algorithm '{}' is not known; did you mean '{}'? `gradus list algorithms` shows all", name,
       nearest_name(name, names));
}

void TrainConfig::check() const {
  check_algorithm(algorithm);
  require(seed >= 0, "seed is {}, but must not be negative", seed);
  require(seeds >= 1 && seeds <= 10000, "seeds is {}, but must be 1 to 10000", seeds);
  require(threads >= 0 && threads <= 256, "threads is {}, but must be 0 (all cores) to 256", threads);
  require(episodes >= 1, "episodes is {}, but must be at least 1", episodes);
  require(reports >= 1 && reports <= 100000, "reports is {}, but must be 1 to 100000", reports);
  require(keep_checkpoints >= 1, "keep_checkpoints is {}, but must be at least 1", keep_checkpoints);
  tabular.check();
}

}  // namespace gradus::rl
