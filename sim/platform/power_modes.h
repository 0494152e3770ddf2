// Power modes that a device changes between while it runs: a pure function of date and round.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fedclock::platform {

// Draws one of the choices, each as likely, every so many seconds or rounds; of the two, the one
// that is above 0.
struct ModeChanges {
  double every_s = 0;
  int64_t every_rounds = 0;
  std::vector<std::size_t> choices;  // numbers of modes
  uint64_t seed = 0;

  struct Mode {
    std::size_t number = 0;
    double until_s = 0;  // infinity: the date does not change it
  };
  // `round`: the federation's, from 1.
  Mode at(double date_s, int64_t round, uint64_t device) const;
};

}  // namespace fedclock::platform
