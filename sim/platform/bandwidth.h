// Bandwidth of a device's link that changes over time: a pure function of the date.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/platform/distribution.h"

namespace fedclock::platform {

struct Rates {
  double up_bytes_s = 0, down_bytes_s = 0;
  double until_s = 0;  // they hold until then; infinity: for ever
};

class Bandwidth {
 public:
  virtual ~Bandwidth() = default;
  // From this date on; until_s > date_s.
  virtual Rates at(double date_s) const = 0;
};

// Rates below the first, as measured traces have, count as that: a link that carries nothing at all
// is one that is cut, which availability says. Those above the second count as that.
inline constexpr double kSlowest_bytes_s = 1, kFastest_bytes_s = 1.25e12;

// Drawn anew at 0, every, 2 every, ... (infinity: once), byte/s down; up is that times
// `up_per_down`.
std::shared_ptr<const Bandwidth> redrawn(const Distribution& down_bytes_s, double up_per_down,
                                         double every_s, uint64_t seed, uint64_t device);

// A measured trace: rate i holds from times_s[i] until the next one; the first time is 0, and all
// repeats after period_s.
struct RateTrace {
  std::vector<double> times_s;
  std::vector<double> down_bytes_s;
  double period_s = 0;
};
std::shared_ptr<const Bandwidth> traced(std::shared_ptr<const RateTrace> trace, double up_per_down,
                                        double offset_s);

}  // namespace fedclock::platform
