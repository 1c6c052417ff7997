#include "gradus/rl/deep/schedule.h"

#include <algorithm>
#include <cmath>

#include "gradus/rl/check_setting.h"

namespace gradus::rl {

double Schedule::operator()(double progress) const {
  const double way = std::clamp((progress - begin) / (end - begin), 0.0, 1.0);
  return exponential ? from * std::pow(to / from, way) : from + (to - from) * way;
}

void ScheduleConfig::check() const {
  check_choice("schedule.shape", shape, {"linear", "exponential"});
  check_share("schedule.begin", begin);
  check_share("schedule.end", end);
  require(begin < end,
          "schedule.begin is {}, but schedule.end is {}: a schedule must end after it begins; set end above", begin,
          end);
  const auto check_falls = [&](std::string_view key, double share) {
    check_share(key, share);
    require(shape == "linear" || share > 0,
            "{} is 0, but schedule.shape is exponential, which never gets there; set a share above 0, such as 0.01, or "
            "shape linear",
            key);
  };
  check_falls("schedule.learning_rate_share", learning_rate_share);
  check_falls("schedule.clip_range_share", clip_range_share);
  check_falls("schedule.ent_coef_share", ent_coef_share);
  check_falls("schedule.sigma_share", sigma_share);
}

}  // namespace gradus::rl
