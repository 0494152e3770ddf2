// When something is there: a device on, a link whole, a server running. A pure function of the
// date: nothing happens at a change unless somebody asks, so a fleet of any size costs nothing
// while nobody uses it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "sim/kernel/outcome.h"

namespace fedclock::platform {

using kernel::Interval;

class Presence {
 public:
  struct State {
    bool on = true;
    double until_s = 0;  // the state holds at least until then; infinity: for ever
  };

  virtual ~Presence() = default;
  // The state from this date on: what changes at the very date has changed. until_s > date_s.
  virtual State at(double date_s) = 0;
};

// On during [start, end) of each interval; with a period P all repeats: on at t where the
// intervals hold (t + offset) mod P. Without one (infinity) offset shifts the start only.
// InputError unless the intervals ascend, do not overlap, are not empty and lie in [0, period].
std::shared_ptr<Presence> on_during(std::shared_ptr<const std::vector<Interval>> intervals,
                                    double period_s, double offset_s);
// Off during the intervals, else on; likewise.
std::shared_ptr<Presence> off_during(std::shared_ptr<const std::vector<Interval>> intervals,
                                     double period_s, double offset_s);

// On until the date, then as the other says.
std::shared_ptr<Presence> on_until(double date_s, std::shared_ptr<Presence> then);

// Random churn: times on and off are exponential with these means, independent of each other. At
// the start it is on with probability mean_on / (mean_on + mean_off).
std::shared_ptr<Presence> churn(double mean_on_s, double mean_off_s, uint64_t seed,
                                uint64_t device);

// On where both are; off for as long as one of them is known to be. Either may be nullptr, which is
// always on.
std::shared_ptr<Presence> both(std::shared_ptr<Presence> a, std::shared_ptr<Presence> b);

// The state of two together, by the same rule.
Presence::State combined(const Presence::State& a, const Presence::State& b);

// nullptr is always on, in these too.
Presence::State state_at(Presence* presence, double date_s);
// The first date, from this one on, at which it is on; infinity: never again.
double next_on_s(Presence* presence, double date_s);
// The same of whatever has a state at each date.
double next_on_s(double date_s, const std::function<Presence::State(double)>& state_at);
// Seconds of [start, end] in which it is on.
double on_seconds(Presence* presence, double start_s, double end_s);

}  // namespace fedclock::platform
