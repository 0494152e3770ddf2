// Time in steps of equal length.
#pragma once

#include <cmath>
#include <cstdint>

namespace fedclock::platform {

struct Step {
  uint64_t number = 0;
  double until_s = 0;  // start of the next
};

// The step that holds at the date, from 0; its end lies after the date, whatever the rounding.
inline Step step_at(double date_s, double every_s) {
  auto number = static_cast<uint64_t>(std::floor(date_s / every_s));
  while (number > 0 && static_cast<double>(number) * every_s > date_s) --number;
  while (static_cast<double>(number + 1) * every_s <= date_s) ++number;
  return {number, static_cast<double>(number + 1) * every_s};
}

}  // namespace fedclock::platform
