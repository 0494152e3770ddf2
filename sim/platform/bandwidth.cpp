#include "sim/platform/bandwidth.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/common/error.h"
#include "sim/platform/steps.h"

namespace fedclock::platform {

namespace {

Rates rates(double down_bytes_s, double up_per_down, double until_s) {
  const auto in_range = [](double bytes_s) {
    return std::clamp(bytes_s, kSlowest_bytes_s, kFastest_bytes_s);
  };
  return {in_range(down_bytes_s * up_per_down), in_range(down_bytes_s), until_s};
}

class Redrawn final : public Bandwidth {
 public:
  Redrawn(const Distribution& down, double up_per_down, double every_s, uint64_t seed,
          uint64_t device)
      : down_(down), up_per_down_(up_per_down), every_s_(every_s), seed_(seed), device_(device) {}

  Rates at(double date_s) const override {
    const Step step = std::isinf(every_s_) ? Step{0, every_s_} : step_at(date_s, every_s_);
    Random random(seed_, "bandwidth", step.number, device_);
    return rates(draw(down_, random), up_per_down_, step.until_s);
  }

 private:
  Distribution down_;
  double up_per_down_, every_s_;
  uint64_t seed_, device_;
};

class Traced final : public Bandwidth {
 public:
  Traced(std::shared_ptr<const RateTrace> trace, double up_per_down, double offset_s)
      : trace_(std::move(trace)), up_per_down_(up_per_down), offset_s_(offset_s) {
    ensure(!trace_->times_s.empty() && trace_->times_s.front() == 0 &&
               trace_->times_s.back() < trace_->period_s,
           "a trace of bandwidth whose times do not start at 0 and lie in its period");
  }

  Rates at(double date_s) const override {
    const std::vector<double>& times_s = trace_->times_s;
    const auto cycle = static_cast<double>(step_at(date_s + offset_s_, trace_->period_s).number);
    const double place_s = date_s + offset_s_ - cycle * trace_->period_s;
    auto index = static_cast<std::size_t>(
        std::upper_bound(times_s.begin() + 1, times_s.end(), place_s) - times_s.begin() - 1);
    // Rounding may leave the next change at this very date, or just before it.
    double until_s = change_after(index, cycle);
    while (until_s <= date_s) until_s = change_after(++index, cycle);
    return rates(trace_->down_bytes_s[index % times_s.size()], up_per_down_, until_s);
  }

 private:
  double change_after(std::size_t index, double cycle) const {
    const std::size_t count = trace_->times_s.size();
    const double turns = cycle + static_cast<double>((index + 1) / count);
    return turns * trace_->period_s + trace_->times_s[(index + 1) % count] - offset_s_;
  }

  std::shared_ptr<const RateTrace> trace_;
  double up_per_down_, offset_s_;
};

}  // namespace

std::shared_ptr<const Bandwidth> redrawn(const Distribution& down_bytes_s, double up_per_down,
                                         double every_s, uint64_t seed, uint64_t device) {
  return std::make_shared<Redrawn>(down_bytes_s, up_per_down, every_s, seed, device);
}

std::shared_ptr<const Bandwidth> traced(std::shared_ptr<const RateTrace> trace, double up_per_down,
                                        double offset_s) {
  return std::make_shared<Traced>(std::move(trace), up_per_down, offset_s);
}

}  // namespace fedclock::platform
