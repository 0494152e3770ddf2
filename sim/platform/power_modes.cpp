#include "sim/platform/power_modes.h"

#include <algorithm>
#include <limits>

#include "models/common/random.h"
#include "sim/platform/steps.h"

namespace fedclock::platform {

ModeChanges::Mode ModeChanges::at(double date_s, int64_t round, uint64_t device) const {
  Step step;
  if (every_rounds > 0) {
    step.number = static_cast<uint64_t>(std::max<int64_t>(0, round - 1) / every_rounds);
    step.until_s = std::numeric_limits<double>::infinity();
  } else {
    step = step_at(date_s, every_s);
  }
  Random random(seed, "power mode", step.number, device);
  return {choices.at(random.below(choices.size())), step.until_s};
}

}  // namespace fedclock::platform
