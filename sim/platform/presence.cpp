#include "sim/platform/presence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "models/common/error.h"
#include "models/common/random.h"

namespace fedclock::platform {

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

using Intervals = std::shared_ptr<const std::vector<Interval>>;

void check(const std::vector<Interval>& intervals, double period_s) {
  if (!(period_s > 0)) throw InputError("a period of availability must be above 0 s");
  double last_s = 0;
  for (const Interval& interval : intervals) {
    if (!(interval.start_s >= last_s && interval.end_s > interval.start_s &&
          interval.end_s <= period_s)) {
      throw InputError(
          fmt::format("the interval from {} s to {} s is empty, overlaps the one "
                      "before it, or does not lie between 0 s and {} s",
                      interval.start_s, interval.end_s, period_s));
    }
    last_s = interval.end_s;
  }
}

// The changes of all intervals, in order: number i is a start where i is even. Dates are always
// made by date_of(), so that a change looks the same from both sides.
class Repeated final : public Presence {
 public:
  Repeated(Intervals intervals, double period_s, double offset_s, bool on_inside)
      : intervals_(std::move(intervals)),
        period_s_(period_s),
        offset_s_(offset_s),
        on_inside_(on_inside) {
    check(*intervals_, period_s);
  }

  State at(double date_s) override {
    if (intervals_->empty()) return {!on_inside_, kNever};
    Change next = after(date_s);
    const double until_s = date_of(next);
    const bool inside = next.index % 2 != 0;  // the next change is an end
    return {inside == on_inside_, until_s};
  }

 private:
  struct Change {
    double cycle;
    std::size_t index;
  };

  std::size_t changes() const { return 2 * intervals_->size(); }
  bool repeats() const { return std::isfinite(period_s_); }
  double local(std::size_t index) const {
    const Interval& interval = (*intervals_)[index / 2];
    return index % 2 == 0 ? interval.start_s : interval.end_s;
  }
  // Infinity after the last change of what does not repeat.
  double date_of(const Change& change) const {
    if (repeats()) {
      // An end at the period's own is the start of the next one, to the last bit: what is on on
      // both sides of it goes on.
      const double at_s = local(change.index);
      const double cycle = at_s == period_s_ ? change.cycle + 1 : change.cycle;
      return cycle * period_s_ + (at_s == period_s_ ? 0 : at_s) - offset_s_;
    }
    return change.index < changes() ? local(change.index) - offset_s_ : kNever;
  }

  // The first change after the date.
  Change after(double date_s) const {
    Change change{repeats() ? std::floor((date_s + offset_s_) / period_s_) : 0, 0};
    const double place_s = date_s + offset_s_ - (repeats() ? change.cycle * period_s_ : 0);
    const auto interval = std::partition_point(
        intervals_->begin(), intervals_->end(),
        [place_s](const Interval& candidate) { return candidate.end_s <= place_s; });
    change.index = 2 * static_cast<std::size_t>(interval - intervals_->begin());
    // Rounding may have put it a change or two off.
    while (date_of(normal(change)) > date_s && back(change)) continue;
    while (!(date_of(normal(change)) > date_s)) ++change.index;
    return normal(change);
  }
  Change normal(Change change) const {
    if (repeats() && change.index >= changes()) return {change.cycle + 1, change.index - changes()};
    return change;
  }
  bool back(Change& change) const {
    change = normal(change);
    if (change.index > 0) {
      --change.index;
    } else if (repeats()) {
      change = {change.cycle - 1, changes() - 1};
    } else {
      return false;
    }
    return true;
  }

  Intervals intervals_;
  double period_s_, offset_s_;
  bool on_inside_;
};

class OnUntil final : public Presence {
 public:
  OnUntil(double date_s, std::shared_ptr<Presence> then)
      : date_s_(date_s), then_(std::move(then)) {}

  State at(double date_s) override {
    return date_s < date_s_ ? State{true, date_s_} : state_at(then_.get(), date_s);
  }

 private:
  double date_s_;
  std::shared_ptr<Presence> then_;
};

class Churn final : public Presence {
 public:
  Churn(double mean_on_s, double mean_off_s, uint64_t seed, uint64_t device)
      : mean_on_s_(mean_on_s), mean_off_s_(mean_off_s), random_(seed, "churn", 0, device) {
    for (const double mean_s : {mean_on_s, mean_off_s}) {
      if (std::isfinite(mean_s) && mean_s > 0) continue;
      throw InputError(
          fmt::format("a mean time of churn of {} s; it must be finite and above 0", mean_s));
    }
    on_first_ = random_.uniform() * (mean_on_s + mean_off_s) < mean_on_s;
  }

  State at(double date_s) override {
    while (changes_s_.empty() || changes_s_.back() <= date_s) draw();
    const auto next = std::upper_bound(changes_s_.begin(), changes_s_.end(), date_s);
    return {on_after(static_cast<std::size_t>(next - changes_s_.begin())), *next};
  }

 private:
  bool on_after(std::size_t changes) const { return (changes % 2 == 0) == on_first_; }

  void draw() {
    const double last_s = changes_s_.empty() ? 0 : changes_s_.back();
    const double mean_s = on_after(changes_s_.size()) ? mean_on_s_ : mean_off_s_;
    const double duration_s = -mean_s * std::log(1.0 - random_.uniform());
    changes_s_.push_back(
        std::max(last_s + duration_s, std::nextafter(last_s, kNever)));  // a draw of 0
  }

  double mean_on_s_, mean_off_s_;
  Random random_;
  bool on_first_ = true;
  std::vector<double> changes_s_;  // as far as anybody has asked
};

class Both final : public Presence {
 public:
  Both(std::shared_ptr<Presence> a, std::shared_ptr<Presence> b)
      : a_(std::move(a)), b_(std::move(b)) {}

  State at(double date_s) override { return combined(a_->at(date_s), b_->at(date_s)); }

 private:
  std::shared_ptr<Presence> a_, b_;
};

}  // namespace

Presence::State combined(const Presence::State& a, const Presence::State& b) {
  if (a.on && b.on) return {true, std::min(a.until_s, b.until_s)};
  return {false, std::max(a.on ? 0 : a.until_s, b.on ? 0 : b.until_s)};
}

std::shared_ptr<Presence> on_during(Intervals intervals, double period_s, double offset_s) {
  return std::make_shared<Repeated>(std::move(intervals), period_s, offset_s, true);
}

std::shared_ptr<Presence> off_during(Intervals intervals, double period_s, double offset_s) {
  return std::make_shared<Repeated>(std::move(intervals), period_s, offset_s, false);
}

std::shared_ptr<Presence> on_until(double date_s, std::shared_ptr<Presence> then) {
  return std::make_shared<OnUntil>(date_s, std::move(then));
}

std::shared_ptr<Presence> churn(double mean_on_s, double mean_off_s, uint64_t seed,
                                uint64_t device) {
  return std::make_shared<Churn>(mean_on_s, mean_off_s, seed, device);
}

std::shared_ptr<Presence> both(std::shared_ptr<Presence> a, std::shared_ptr<Presence> b) {
  if (!a) return b;
  if (!b) return a;
  return std::make_shared<Both>(std::move(a), std::move(b));
}

Presence::State state_at(Presence* presence, double date_s) {
  return presence == nullptr ? Presence::State{true, kNever} : presence->at(date_s);
}

double next_on_s(double date_s, const std::function<Presence::State(double)>& state_at) {
  // What is still off after so many changes is off for good: two things that take turns are never
  // on together.
  constexpr int kMostChanges = 10'000;
  for (int change = 0; change < kMostChanges && std::isfinite(date_s); ++change) {
    const Presence::State state = state_at(date_s);
    if (state.on) return date_s;
    date_s = state.until_s;
  }
  return kNever;
}

double next_on_s(Presence* presence, double date_s) {
  return next_on_s(date_s, [presence](double at_s) { return state_at(presence, at_s); });
}

double on_seconds(Presence* presence, double start_s, double end_s) {
  double sum_s = 0;
  while (start_s < end_s) {
    const Presence::State state = state_at(presence, start_s);
    const double until_s = std::min(end_s, state.until_s);
    if (state.on) sum_s += until_s - start_s;
    start_s = until_s;
  }
  return sum_s;
}

}  // namespace fedclock::platform
