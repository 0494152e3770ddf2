#include "sim/results/claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <span>

#include "models/common/error.h"

namespace fedclock::results {

namespace {

constexpr int kLeastSeeds = 3;
constexpr double kLeastLearnt = 0.05;  // accuracy above that before training
constexpr double kConfidence = 0.95;
constexpr double kRounding = 1e-9;

double mean_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// Of the last measurement.
double smoothed(const std::vector<Measurement>& measured, const AccuracyRule& rule) {
  if (rule.best_so_far) {
    return std::ranges::max(measured, {}, &Measurement::accuracy).accuracy;
  }
  const double since_s = measured.back().simulated_s - rule.smoothing_s;
  double sum = 0, count = 0;
  for (auto one = measured.rbegin(); one != measured.rend(); ++one) {
    if (count > 0 && one->simulated_s <= since_s) break;
    sum += one->accuracy;
    ++count;
  }
  return sum / count;
}

// At or above, where rounding makes no difference.
bool reaches(double value, double figure) {
  return value >= figure - kRounding * std::max(1.0, std::abs(figure));
}

bool is_ratio(const v1::Claim& claim) { return claim.kind_case() == v1::Claim::kSpeedUp; }

// An estimate of logarithms as one of ratios.
Estimate as_ratios(Estimate logs) {
  for (std::optional<double>* value : {&logs.mean, &logs.low, &logs.high}) {
    if (*value) *value = std::exp(**value);
  }
  return logs;
}

}  // namespace

std::optional<double> Curve::final_accuracy() const {
  return measured.empty() ? std::nullopt : std::optional(measured.back().smoothed);
}

std::optional<Measurement> Curve::reach(double target) const {
  for (const Measurement& measurement : measured) {
    if (reaches(measurement.smoothed, target)) return measurement;
  }
  return std::nullopt;
}

AccuracyRule accuracy_rule(const v1::Suite& suite) {
  return {.smoothing_s = suite.smoothing_s(),
          .own_rows = suite.own_rows(),
          .best_so_far = suite.best_so_far()};
}

Curve curve_of(const v1::Result& result, const AccuracyRule& rule) {
  Curve curve;
  for (const v1::Round& round : result.rounds()) {
    curve.total_bytes += round.bytes_up() + round.bytes_down();
    curve.total_s = round.end_s();
    if (!(rule.own_rows ? round.has_client_accuracy() : round.has_accuracy())) continue;
    const double accuracy = rule.own_rows ? round.client_accuracy() : round.accuracy();
    curve.measured.push_back({round.round(), round.end_s(), curve.total_bytes, accuracy, 0});
    curve.measured.back().smoothed = smoothed(curve.measured, rule);
  }
  return curve;
}

std::optional<Target> target_of(const Curves& curves, const std::vector<std::string>& baselines,
                                const std::string& setting, uint64_t seed) {
  std::optional<Target> best;
  for (const std::string& baseline : baselines) {
    const auto found = curves.find({setting, baseline, seed});
    if (found == curves.end()) return std::nullopt;
    const std::optional<double> accuracy = found->second.final_accuracy();
    if (!accuracy) return std::nullopt;
    const Measurement reached = found->second.reach(*accuracy).value();  // at the end at the latest
    if (!best || *accuracy > best->accuracy ||
        (*accuracy == best->accuracy && reached.simulated_s < best->reached.simulated_s)) {
      best = {*accuracy, baseline, reached};
    }
  }
  return best;
}

std::optional<Outcome> outcome_of(const v1::Claim& claim, const Curve& method,
                                  const Target& target) {
  if (method.measured.empty()) return std::nullopt;
  const std::optional<Measurement> reached = method.reach(target.accuracy);
  switch (claim.kind_case()) {
    case v1::Claim::kAccuracyGain: return Outcome{*method.final_accuracy() - target.accuracy};
    case v1::Claim::kSpeedUp: {
      const double spent_s = reached ? reached->simulated_s : method.total_s;
      if (spent_s <= 0 || target.reached.simulated_s <= 0) return std::nullopt;
      return Outcome{target.reached.simulated_s / spent_s, !reached};
    }
    case v1::Claim::kTrafficSaving: {
      if (target.reached.bytes <= 0) return std::nullopt;
      const auto sent = static_cast<double>(reached ? reached->bytes : method.total_bytes);
      return Outcome{1 - sent / static_cast<double>(target.reached.bytes), !reached};
    }
    case v1::Claim::KIND_NOT_SET: break;
  }
  ensure(false, "a claim of no kind is judged");
  return std::nullopt;
}

Estimate estimate_of(const std::vector<double>& values) {
  Estimate estimate;
  estimate.seeds = static_cast<int>(values.size());
  if (values.empty()) return estimate;
  estimate.mean = mean_of(values);
  if (values.size() == 1) return estimate;
  const auto n = static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - *estimate.mean) * (value - *estimate.mean);
  const boost::math::students_t distribution(n - 1);
  const double t =
      boost::math::quantile(boost::math::complement(distribution, (1 - kConfidence) / 2));
  const double half = t * std::sqrt(squares / (n - 1)) / std::sqrt(n);
  estimate.low = *estimate.mean - half;
  estimate.high = *estimate.mean + half;
  return estimate;
}

std::string verdict_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::kReproduced: return "reproduced";
    case Verdict::kNotReproduced: return "not reproduced";
    case Verdict::kInconclusive: return "inconclusive";
  }
  return {};
}

double figure_of(const v1::Claim& claim) {
  switch (claim.kind_case()) {
    case v1::Claim::kSpeedUp: return claim.speed_up().at_least();
    case v1::Claim::kAccuracyGain: return claim.accuracy_gain().at_least();
    case v1::Claim::kTrafficSaving: return claim.traffic_saving().at_least();
    case v1::Claim::KIND_NOT_SET: break;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

namespace {

class Judge {
 public:
  Judge(const v1::Claim& claim, const scenario::SuitePlan& plan, const Curves& curves)
      : claim_(claim), plan_(plan), curves_(curves) {
    take({claim.of()}, plan.methods, method_);
    take({claim.against().begin(), claim.against().end()}, plan.methods, baselines_);
    if (claim.settings().empty()) {
      settings_ = plan.judged;
    } else {
      take({claim.settings().begin(), claim.settings().end()}, plan.settings, settings_);
    }
    if (settings_.empty() && absent_.empty()) absent_.push_back("any setting");
  }

  Judgement judge() {
    std::vector<std::vector<Outcome>> by_seed(plan_.seeds.size());
    for (const std::string& setting : settings_) {
      judgement_.settings.push_back(row(setting, by_seed));
    }
    const auto learnt =
        static_cast<size_t>(std::ranges::count_if(judgement_.settings, &Judgement::Row::learnt));
    std::vector<double> means;
    bool at_most = false;
    for (const std::vector<Outcome>& outcomes : by_seed) {
      if (outcomes.empty() || outcomes.size() < learnt) continue;
      std::vector<double> values;
      for (const Outcome& outcome : outcomes) {
        values.push_back(outcome.value);
        at_most = at_most || outcome.at_most;
      }
      means.push_back(mean_of(values));
    }
    judgement_.measured = estimate(means, at_most);
    decide();
    return judgement_;
  }

 private:
  // Those that take part; the others are absent.
  void take(const std::vector<std::string>& names, const std::vector<std::string>& part,
            std::vector<std::string>& taken) {
    for (const std::string& name : names) {
      const bool there = std::find(part.begin(), part.end(), name) != part.end();
      (there ? taken : absent_).push_back(name);
    }
  }

  Estimate estimate(const std::vector<double>& values, bool at_most) const {
    Estimate estimate = estimate_of(values);
    if (is_ratio(claim_)) estimate = as_ratios(estimate);
    estimate.at_most = at_most;
    return estimate;
  }

  // One setting alone; its outcomes, speed-ups as logarithms, are added to their seeds'.
  Judgement::Row row(const std::string& setting, std::vector<std::vector<Outcome>>& by_seed) {
    Judgement::Row row{setting, {}, {}, is_learnt(setting)};
    std::vector<double> values;
    bool at_most = false;
    for (size_t i = 0; i < plan_.seeds.size(); ++i) {
      std::optional<Outcome> outcome = one(setting, plan_.seeds[i], row);
      if (!outcome) continue;
      if (is_ratio(claim_)) outcome->value = std::log(outcome->value);
      values.push_back(outcome->value);
      at_most = at_most || outcome->at_most;
      if (row.learnt) by_seed[i].push_back(*outcome);
    }
    row.measured = estimate(values, at_most);
    return row;
  }

  // Whether somebody is 5 points better than before training, with every seed that is complete.
  bool is_learnt(const std::string& setting) const {
    return std::all_of(plan_.seeds.begin(), plan_.seeds.end(), [&](uint64_t seed) {
      const auto learns = [&](const std::string& method) {
        const auto found = curves_.find({setting, method, seed});
        if (found == curves_.end() || found->second.measured.empty()) return true;  // not known
        const auto& measured = found->second.measured;
        if (measured.size() == 1) return true;  // nothing to compare with
        return reaches(measured.back().smoothed, measured.front().accuracy + kLeastLearnt);
      };
      return std::any_of(method_.begin(), method_.end(), learns) ||
             std::any_of(baselines_.begin(), baselines_.end(), learns);
    });
  }

  std::optional<Outcome> one(const std::string& setting, uint64_t seed, Judgement::Row& row) {
    bool complete = true;
    for (const auto* methods : {&method_, &baselines_}) {
      for (const std::string& method : *methods) {
        const bool there = curves_.contains({setting, method, seed});
        ++needed_;
        missing_ += there ? 0 : 1;
        complete = complete && there;
      }
    }
    if (!complete || method_.empty() || baselines_.empty()) return std::nullopt;
    const Curve& method = curves_.at({setting, method_[0], seed});
    const std::optional<Target> target = target_of(curves_, baselines_, setting, seed);
    if (!target || method.measured.empty()) {
      unmeasured_ += row.learnt ? 1 : 0;
      return std::nullopt;
    }
    if (std::find(row.best.begin(), row.best.end(), target->baseline) == row.best.end()) {
      row.best.push_back(target->baseline);
    }
    const std::optional<Outcome> outcome = outcome_of(claim_, method, *target);
    at_start_ += outcome || !row.learnt ? 0 : 1;
    return outcome;
  }

  void decide() {
    judgement_.reason = obstacle();
    if (!judgement_.reason.empty()) return;
    const double figure = figure_of(claim_);
    const Estimate& measured = judgement_.measured;
    if (!reaches(*measured.high, figure)) {
      judgement_.verdict = Verdict::kNotReproduced;
    } else if (!reaches(*measured.low, figure)) {
      judgement_.reason = "the interval holds the paper's figure";
    } else if (measured.at_most) {
      judgement_.reason = "an upper bound: the target was not always reached";
    } else {
      judgement_.verdict = Verdict::kReproduced;
    }
    if (plan_.quick && judgement_.reason.empty()) judgement_.reason = "quick";
  }

  // Why there is no verdict whatever was measured; empty where there can be one.
  std::string obstacle() const {
    if (!absent_.empty()) return fmt::format("without {}", fmt::join(absent_, ", "));
    if (missing_ > 0) return fmt::format("{} of {} runs are missing", missing_, needed_);
    if (unmeasured_ > 0) return "accuracies were not measured";
    if (std::ranges::none_of(judgement_.settings, &Judgement::Row::learnt)) {
      return "nothing was learnt";
    }
    if (at_start_ > 0) return "a target was reached before training";
    const auto seeds = std::ssize(plan_.seeds);
    if (seeds >= kLeastSeeds) return "";
    return fmt::format("{}{} seed{}", plan_.quick ? "quick, " : "", seeds, seeds == 1 ? "" : "s");
  }

  const v1::Claim& claim_;
  const scenario::SuitePlan& plan_;
  const Curves& curves_;
  std::vector<std::string> method_, baselines_, settings_;  // method_: one, or none
  std::vector<std::string> absent_;                         // named, but no part of the plan
  int needed_ = 0, missing_ = 0;                            // runs
  int unmeasured_ = 0, at_start_ = 0;                       // settings and seeds without a number
  Judgement judgement_;
};

}  // namespace

Judgement judge(const v1::Claim& claim, const scenario::SuitePlan& plan, const Curves& curves) {
  return Judge(claim, plan, curves).judge();
}

std::vector<std::string> rules(const AccuracyRule& rule) {
  std::string accuracy;
  if (rule.own_rows) {
    accuracy = "Accuracies are means over clients, each on its own test rows. ";
  }
  if (rule.best_so_far) {
    accuracy += "An accuracy is the best of all measurements up to its own. ";
  } else if (rule.smoothing_s > 0) {
    accuracy += fmt::format(
        "An accuracy is smoothed: the mean of the measurements of the {:g} simulated seconds up to "
        "its own. ",
        rule.smoothing_s);
  }
  return {
      accuracy + "The final accuracy is the one at the end of a run.",
      "The target, for each setting and seed, is the highest final accuracy among the baselines"
      " of the claim; who has it is the best baseline, among equals the faster one.",
      "Time and traffic to the target: simulated seconds and bytes, up and down, until the "
      "accuracy first is at or above it. Speed-up: time of the best baseline / time of the "
      "method. Accuracy gain: final accuracy of the method - target. Traffic saving: 1 - bytes "
      "of the method / bytes of the best baseline.",
      "Nothing learnt: in a setting in which, with any seed, neither the method nor a baseline "
      "ends 5 points above its accuracy before training. The claim is judged without it.",
      "A method that never reaches the target counts with its whole run: \"at most\", an upper "
      "bound.",
      "Mean over settings for each seed, then mean over seeds (of speed-ups the geometric mean)"
      " and 95 % interval by Student's t.",
      "Reproduced: the whole interval lies at or above the paper's figure. Not reproduced: all "
      "of it lies below. Else inconclusive; so too with fewer than 3 seeds, with runs missing, "
      "where nothing was learnt anywhere, and where an upper bound is all that lies above.",
  };
}

}  // namespace fedclock::results
