// Claims of a paper, judged over the runs of its suite (sim/scenario/suite.proto).
//
// The rules, for each setting and seed (accuracies are on the server's test rows or, with own_rows,
// means over clients on their own):
//   smoothed accuracy    at a measurement, the mean of the measurements of the suite's smoothing_s
//                        up to it, itself included; or the best of all measurements up to it
//   final accuracy       the smoothed accuracy at the last measurement
//   target               the highest final accuracy among the baselines; who has it is the best
//                        baseline, among equals the one that reaches it first
//   time to the target   simulated seconds at the first measurement with a smoothed accuracy at or
//                        above the target; the best baseline has one at its end at the latest
//   bytes to the target  up and down, of all rounds until then
//   speed-up             time of the best baseline / time of the method
//   accuracy gain        final accuracy of the method - target
//   traffic saving       1 - bytes of the method / bytes of the best baseline
//   nothing learnt       in a setting in which, with any seed, neither the method nor a baseline of
//                        the claim ends 5 points above its own first measurement, before training:
//                        the claim is not judged by it
// A method that never reaches the target counts with the time and the bytes of its whole run: the
// speed-up or saving is then an upper bound, "at most".
//
// Over settings and seeds: for each seed the mean m_s over the settings in which something was
// learnt, then the mean over the n seeds and its 95 % interval by Student's t with n - 1 degrees of
// freedom,
//   mean +- t(0.975, n - 1) sqrt(sum (m_s - mean)^2 / (n - 1)) / sqrt(n);
// speed-ups by their logarithms, so that their mean is the geometric one.
//
// Verdict: reproduced where the whole interval lies at or above the paper's figure, not reproduced
// where all of it lies below, else inconclusive; inconclusive too where runs are missing, where
// accuracies were not measured, where nothing was learnt anywhere, where a target was reached
// before training, with fewer than 3 seeds, and where an upper bound is all that lies above.
// Figures that differ by rounding (1e-9) are the same.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sim/results/result.pb.h"
#include "sim/scenario/suite.h"

namespace fedclock::results {

struct Measurement {
  int32_t round = 0;
  double simulated_s = 0;
  int64_t bytes = 0;  // up and down, of all rounds until then
  double accuracy = 0, smoothed = 0;
};

// What of a run is judged.
struct Curve {
  std::vector<Measurement> measured;  // may be empty
  double total_s = 0;                 // simulated, of the whole run
  int64_t total_bytes = 0;

  // Smoothed; nothing where nothing was measured.
  std::optional<double> final_accuracy() const;
  // The first measurement whose smoothed accuracy is at or above the target.
  std::optional<Measurement> reach(double target) const;
};

// What counts as accuracy in a suite.
struct AccuracyRule {
  double smoothing_s = 0;
  bool own_rows = false;     // means over clients on their own test rows
  bool best_so_far = false;  // in place of smoothing
};
AccuracyRule accuracy_rule(const v1::Suite& suite);

Curve curve_of(const v1::Result& result, const AccuracyRule& rule);

// Of the finished runs.
using Curves = std::map<scenario::SuiteRun, Curve>;

struct Target {
  double accuracy = 0;
  std::string baseline;  // that has it
  Measurement reached;   // by that baseline
};
// Nothing where a baseline's run is missing, or measured nothing.
std::optional<Target> target_of(const Curves& curves, const std::vector<std::string>& baselines,
                                const std::string& setting, uint64_t seed);

// What a claim is about, of one setting and seed.
struct Outcome {
  double value = 0;
  bool at_most = false;  // the target was never reached: an upper bound
};
// Nothing where the method's run measured nothing, or a ratio has no sense: the target was reached
// before anything was done or sent.
std::optional<Outcome> outcome_of(const v1::Claim& claim, const Curve& method,
                                  const Target& target);

// A mean over seeds, with its 95 % interval.
struct Estimate {
  int seeds = 0;
  std::optional<double> mean;       // nothing without a seed
  std::optional<double> low, high;  // from two seeds on
  bool at_most = false;             // where one of its numbers is an upper bound
};
Estimate estimate_of(const std::vector<double>& values);

enum class Verdict { kReproduced, kNotReproduced, kInconclusive };
// "reproduced", "not reproduced", "inconclusive".
std::string verdict_text(Verdict verdict);

struct Judgement {
  struct Row {
    std::string setting;
    Estimate measured;
    std::vector<std::string> best;  // baselines, each once, by seed
    bool learnt = true;             // else it is left out of what is measured over all settings
  };
  Estimate measured;  // over the settings that are learnt, of the seeds for which all are there
  std::vector<Row> settings;  // each alone
  Verdict verdict = Verdict::kInconclusive;
  std::string reason;  // of an inconclusive verdict: "4 of 18 runs are missing"; else may be empty
};

// The paper's figure.
double figure_of(const v1::Claim& claim);

Judgement judge(const v1::Claim& claim, const scenario::SuitePlan& plan, const Curves& curves);

// The rules above in short sentences, to be printed under a table.
std::vector<std::string> rules(const AccuracyRule& rule);

}  // namespace fedclock::results
