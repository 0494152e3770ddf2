// Judgement of claims against hand arithmetic.
#include "sim/results/claims.h"

#include <catch2/catch.hpp>

#include "sim/results/suite_table.h"
#include "sim/results/text.h"

namespace fedclock::results {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using scenario::SuitePlan;

// A measured round every `round_s` seconds, each of 100 bytes up and 200 down; round 0 is at 0 s.
v1::Result result_of(const std::vector<double>& accuracies, double round_s = 10) {
  v1::Result result;
  for (size_t i = 0; i < accuracies.size(); ++i) {
    v1::Round& round = *result.add_rounds();
    round.set_round(static_cast<int32_t>(i));
    round.set_end_s(round_s * static_cast<double>(i));
    round.set_bytes_up(i == 0 ? 0 : 100);
    round.set_bytes_down(i == 0 ? 0 : 200);
    if (accuracies[i] >= 0) round.set_accuracy(accuracies[i]);
  }
  return result;
}

Curve curve(const std::vector<double>& accuracies, double round_s = 10) {
  return curve_of(result_of(accuracies, round_s), {.smoothing_s = 3 * round_s});
}

// 0.5 from the first round on, in rounds of `round_s`: the smoothed accuracy, of 0, 0.5, 0.5, 0.5,
// is 0, 0.25, 1/3, 0.5. So the target 0.5 is reached in round 3.
Curve half_after(double round_s) { return curve({0, 0.5, 0.5, 0.5}, round_s); }

v1::Claim claim_of(const std::string& of, const std::vector<std::string>& against) {
  v1::Claim claim;
  claim.set_text("It is better.");
  claim.set_of(of);
  for (const std::string& name : against) claim.add_against(name);
  return claim;
}

v1::Claim speed_up(double at_least) {
  v1::Claim claim = claim_of("ours", {"base"});
  claim.mutable_speed_up()->set_at_least(at_least);
  return claim;
}

v1::Claim gain(double at_least) {
  v1::Claim claim = claim_of("ours", {"base"});
  claim.mutable_accuracy_gain()->set_at_least(at_least);
  return claim;
}

SuitePlan plan_of(const std::vector<std::string>& settings, const std::vector<uint64_t>& seeds) {
  return {.settings = settings,
          .methods = {"ours", "base", "other"},
          .judged = settings,
          .seeds = seeds,
          .runs = {},
          .quick = false};
}

// "ours" ends at these accuracies with seeds 1, 2, ..., "base" at 0.5.
Curves ends(const std::vector<double>& accuracies) {
  Curves curves;
  for (size_t i = 0; i < accuracies.size(); ++i) {
    curves[{"a", "ours", i + 1}] = curve({accuracies[i]});
    curves[{"a", "base", i + 1}] = curve({0.5});
  }
  return curves;
}

// "ours" is this many times as fast as "base" with seeds 1, 2, ...
Curves speeds(const std::string& setting, const std::vector<double>& ratios) {
  Curves curves;
  for (size_t i = 0; i < ratios.size(); ++i) {
    curves[{setting, "ours", i + 1}] = half_after(10);
    curves[{setting, "base", i + 1}] = half_after(10 * ratios[i]);
  }
  return curves;
}

TEST_CASE("an accuracy is smoothed over the measurements of some seconds") {
  // Round 2 was not measured.
  const Curve measured = curve({0.1, 0.3, -1, 0.8, 0.4});
  REQUIRE(measured.measured.size() == 4);
  CHECK(measured.measured[0].smoothed == Approx(0.1));
  CHECK(measured.measured[1].smoothed == Approx(0.2));   // (0.1 + 0.3) / 2
  CHECK(measured.measured[2].smoothed == Approx(0.55));  // (0.3 + 0.8) / 2: 0 s is too old
  CHECK(measured.measured[3].smoothed == Approx(0.6));   // (0.8 + 0.4) / 2
  CHECK(*measured.final_accuracy() == Approx(0.6));
  CHECK(measured.total_s == 40);
  CHECK(measured.total_bytes == 1200);
  // 0.39 is reached in round 3: 30 s, 3 rounds of 300 bytes.
  const Measurement reached = measured.reach(0.39).value();
  CHECK(reached.round == 3);
  CHECK(reached.simulated_s == 30);
  CHECK(reached.bytes == 900);
  CHECK(measured.reach(0)->round == 0);
  CHECK_FALSE(measured.reach(0.61));
  CHECK_FALSE(curve({-1, -1}).final_accuracy());
}

TEST_CASE("seconds of smoothing, whatever the rounds last") {
  const v1::Result result = result_of({0, 0.1, 0.3, 0.8}, 10);
  const auto last = [&](double smoothing_s) {
    return *curve_of(result, {.smoothing_s = smoothing_s}).final_accuracy();
  };
  CHECK(last(0) == Approx(0.8));
  CHECK(last(10) == Approx(0.8));        // of (20, 30]
  CHECK(last(10.1) == Approx(1.1 / 2));  // (0.3 + 0.8) / 2
  CHECK(last(1000) == Approx(1.2 / 4));
}

TEST_CASE("the best so far, on clients' own rows") {
  v1::Result result = result_of({0.1, 0.5, 0.3, 0.4});
  const Curve best = curve_of(result, {.best_so_far = true});
  CHECK(best.measured[2].accuracy == 0.3);
  CHECK(best.measured[2].smoothed == 0.5);
  CHECK(*best.final_accuracy() == 0.5);
  CHECK(best.reach(0.4)->round == 1);
  // Own rows were measured in rounds 1 and 3 alone.
  result.mutable_rounds(1)->set_client_accuracy(0.7);
  result.mutable_rounds(3)->set_client_accuracy(0.6);
  const Curve own = curve_of(result, {.own_rows = true});
  REQUIRE(own.measured.size() == 2);
  CHECK(*own.final_accuracy() == 0.6);
  CHECK(own.measured[1].bytes == 900);
  CHECK(*curve_of(result, {.own_rows = true, .best_so_far = true}).final_accuracy() == 0.7);
  CHECK(*figures_of(result, {.own_rows = true}).best_accuracy == 0.7);
  CHECK_THAT(rules({.own_rows = true, .best_so_far = true}).front(),
             Contains("own test rows") && Contains("best of all"));
  CHECK_THAT(rules({}).front(), StartsWith("The final accuracy"));
}

TEST_CASE(
    "the target is the best baseline's final accuracy, which it reaches at its end at least") {
  Curves curves;
  curves[{"a", "base", 1}] = curve({0.1, 0.3, 0.2});        // final 0.2
  curves[{"a", "other", 1}] = curve({0.1, 0.2, 0.3, 0.4});  // final 0.3, in round 3
  Target target = target_of(curves, {"base", "other"}, "a", 1).value();
  CHECK(target.baseline == "other");
  CHECK(target.accuracy == Approx(0.3));
  CHECK(target.reached.round == 3);
  // Among equals the faster one.
  curves[{"a", "base", 1}] = curve({0.1, 0.2, 0.3, 0.4}, 5);
  CHECK(target_of(curves, {"base", "other"}, "a", 1)->baseline == "base");
  CHECK(target_of(curves, {"other", "base"}, "a", 1)->baseline == "base");
  // It reached its final accuracy before, and lost it again: 0.4 in round 1, (0.2 + 0.4 + ...) / 3.
  curves[{"a", "base", 1}] = curve({0.2, 0.6, 0.4, 0.2});  // smoothed 0.2, 0.4, 0.4, 0.4
  CHECK(target_of(curves, {"base"}, "a", 1)->reached.round == 1);
  // Missing, or never measured.
  CHECK_FALSE(target_of(curves, {"base"}, "a", 2));
  curves[{"a", "base", 1}] = curve({-1});
  CHECK_FALSE(target_of(curves, {"base", "other"}, "a", 1));
}

TEST_CASE("what is measured of one setting and seed") {
  const Target target{0.5, "base", {.round = 3, .simulated_s = 60, .bytes = 900}};
  // 0.5 in round 3 at 30 s.
  CHECK(outcome_of(speed_up(1), half_after(10), target)->value == Approx(2));
  CHECK_FALSE(outcome_of(speed_up(1), half_after(10), target)->at_most);
  // Final accuracies: (0.6 + 0.7 + 0.8) / 3 = 0.7.
  CHECK(outcome_of(gain(0), curve({0.6, 0.7, 0.8}), target)->value == Approx(0.2));
  v1::Claim saving = claim_of("ours", {"base"});
  saving.mutable_traffic_saving()->set_at_least(0.1);
  // 0.5 in round 1: 300 bytes of 900.
  CHECK(outcome_of(saving, curve({0.4, 0.6}), target)->value == Approx(2.0 / 3));

  // Never reached: the whole run of 120 s and 1200 bytes.
  const Curve low = curve({0.1, 0.1, 0.1, 0.1, 0.1}, 30);
  CHECK(outcome_of(speed_up(1), low, target)->value == Approx(0.5));
  CHECK(outcome_of(speed_up(1), low, target)->at_most);
  CHECK(outcome_of(saving, low, target)->value == Approx(1 - 1200.0 / 900));
  CHECK(outcome_of(saving, low, target)->at_most);
  CHECK_FALSE(outcome_of(gain(0), low, target)->at_most);

  // No sense: reached before training; nothing measured.
  CHECK_FALSE(outcome_of(speed_up(1), curve({0.5}), target));
  const Target at_start{0.1, "base", {}};
  CHECK_FALSE(outcome_of(speed_up(1), half_after(10), at_start));
  CHECK_FALSE(outcome_of(saving, half_after(10), at_start));
  CHECK_FALSE(outcome_of(gain(0), curve({-1}), target));
}

TEST_CASE("a mean over seeds has an interval by Student's t") {
  // 1, 2, 4: mean 7/3; squares (16 + 1 + 25) / 9 = 14/3, so s = sqrt(7/3);
  // t(0.975, 2) = 4.302653; half = 4.302653 * sqrt(7/9) = 3.794583.
  const Estimate estimate = estimate_of({1, 2, 4});
  CHECK(estimate.seeds == 3);
  CHECK(*estimate.mean == Approx(7.0 / 3));
  CHECK(*estimate.high - *estimate.mean == Approx(3.794583).epsilon(1e-6));
  CHECK(*estimate.mean - *estimate.low == Approx(3.794583).epsilon(1e-6));
  // Two: t(0.975, 1) = 12.7062, s = sqrt(1/2), half = 12.7062 / 2.
  CHECK(*estimate_of({1, 2}).high == Approx(1.5 + 6.3531).epsilon(1e-5));
  CHECK_FALSE(estimate_of({1}).low);
  CHECK(estimate_of({1}).mean == 1.0);
  CHECK_FALSE(estimate_of({}).mean);
}

TEST_CASE("speed-ups: geometric means, over settings within a seed, then over seeds") {
  Curves curves = speeds("a", {1, 2, 4});
  curves.merge(speeds("b", {4, 8, 16}));
  const Judgement judgement = judge(speed_up(1), plan_of({"a", "b"}, {1, 2, 3}), curves);
  REQUIRE(judgement.settings.size() == 2);
  CHECK(*judgement.settings[0].measured.mean == Approx(2));  // of 1, 2, 4
  CHECK(*judgement.settings[1].measured.mean == Approx(8));
  // Seeds: sqrt(1 * 4), sqrt(2 * 8), sqrt(4 * 16) = 2, 4, 8, whose logarithms are 1, 2, 3 times
  // log 2: s = log 2, half = 4.302653 / sqrt(3) log 2 = 2.484138 log 2.
  CHECK(*judgement.measured.mean == Approx(4));
  CHECK(*judgement.measured.low == Approx(std::exp2(2 - 2.484138)).epsilon(1e-6));
  CHECK(*judgement.measured.high == Approx(std::exp2(2 + 2.484138)).epsilon(1e-6));
  CHECK(judgement.settings[0].best == std::vector<std::string>{"base"});
}

TEST_CASE("verdicts at the borders") {
  const SuitePlan plan = plan_of({"a"}, {1, 2, 3});
  const auto verdict = [&](const v1::Claim& claim, const Curves& curves) {
    return judge(claim, plan, curves).verdict;
  };
  // Gains without spread: the interval is the point 0.1, up to rounding (0.6 - 0.5 < 0.1).
  const Curves sure = ends({0.6, 0.6, 0.6});
  CHECK(verdict(gain(0.1), sure) == Verdict::kReproduced);
  CHECK(verdict(gain(0.1001), sure) == Verdict::kNotReproduced);
  CHECK(verdict(gain(0.0999), sure) == Verdict::kReproduced);
  // 0.1, 0.2, 0.3: 0.2 +- 4.302653 * 0.1 / sqrt(3) = 0.2 +- 0.248414.
  const Curves wide = ends({0.6, 0.7, 0.8});
  CHECK(verdict(gain(-0.0485), wide) == Verdict::kReproduced);
  CHECK(verdict(gain(-0.0483), wide) == Verdict::kInconclusive);
  CHECK(verdict(gain(0.4483), wide) == Verdict::kInconclusive);
  CHECK(verdict(gain(0.4485), wide) == Verdict::kNotReproduced);
  CHECK_THAT(judge(gain(0.2), plan, wide).reason, Contains("interval"));
  CHECK(verdict(speed_up(2), speeds("a", {2, 2, 2})) == Verdict::kReproduced);
}

TEST_CASE("an upper bound cannot show a claim, only refute it") {
  const SuitePlan plan = plan_of({"a"}, {1, 2, 3});
  Curves curves = speeds("a", {4, 4, 4});
  curves[{"a", "ours", 2}] = curve({0, 0.1, 0.1, 0.1}, 10);  // never; at most 120 s / 30 s = 4
  const Judgement judgement = judge(speed_up(2), plan, curves);
  CHECK(*judgement.measured.mean == Approx(4));
  CHECK(judgement.measured.at_most);
  CHECK(judgement.settings[0].measured.at_most);
  CHECK(judgement.verdict == Verdict::kInconclusive);
  CHECK_THAT(judgement.reason, Contains("upper bound"));
  CHECK(judge(speed_up(5), plan, curves).verdict == Verdict::kNotReproduced);
}

TEST_CASE("runs that are missing leave no verdict, and no number of their seed") {
  const SuitePlan plan = plan_of({"a", "b"}, {1, 2, 3});
  Curves curves = speeds("a", {4, 4, 4});
  curves.merge(speeds("b", {4, 4, 4}));
  curves.erase({"b", "ours", 2});
  const Judgement judgement = judge(speed_up(2), plan, curves);
  CHECK(judgement.verdict == Verdict::kInconclusive);
  CHECK(judgement.reason == "1 of 12 runs are missing");
  CHECK(judgement.measured.seeds == 2);
  CHECK(judgement.settings[0].measured.seeds == 3);
  CHECK(judgement.settings[1].measured.seeds == 2);
  // Where only one setting is named, the other is not missed.
  v1::Claim one = speed_up(2);
  one.add_settings("a");
  CHECK(judge(one, plan, curves).verdict == Verdict::kReproduced);
  CHECK_FALSE(judge(speed_up(2), plan, {}).measured.mean);
}

TEST_CASE("what takes no part leaves no verdict") {
  Curves curves = speeds("a", {4, 4, 4});
  const SuitePlan plan = plan_of({"a"}, {1, 2, 3});
  v1::Claim claim = speed_up(2);
  claim.add_against("extended");
  const Judgement judgement = judge(claim, plan, curves);
  CHECK(judgement.verdict == Verdict::kInconclusive);
  CHECK(judgement.reason == "without extended");
  CHECK(*judgement.measured.mean == Approx(4));
  claim = speed_up(2);
  claim.set_of("nobody");
  CHECK(judge(claim, plan, curves).reason == "without nobody");
  claim = speed_up(2);
  claim.add_settings("b");
  CHECK(judge(claim, plan, curves).reason == "without b");
  SuitePlan none = plan;
  none.judged = {};
  CHECK(judge(speed_up(2), none, curves).verdict == Verdict::kInconclusive);
}

TEST_CASE("fewer than three seeds, and quick ones, are honest") {
  const Curves curves = speeds("a", {4, 4, 4});
  SuitePlan plan = plan_of({"a"}, {1, 2});
  CHECK(judge(speed_up(2), plan, curves).verdict == Verdict::kInconclusive);
  CHECK(judge(speed_up(2), plan, curves).reason == "2 seeds");
  plan.quick = true;
  plan.seeds = {1};
  CHECK(judge(speed_up(2), plan, curves).verdict == Verdict::kInconclusive);
  CHECK(judge(speed_up(2), plan, curves).reason == "quick, 1 seed");
  plan.seeds = {1, 2, 3};
  CHECK(judge(speed_up(2), plan, curves).verdict == Verdict::kReproduced);
  CHECK(judge(speed_up(2), plan, curves).reason == "quick");
}

TEST_CASE("accuracies that were not measured, and targets before training") {
  const SuitePlan plan = plan_of({"a"}, {1, 2, 3});
  Curves curves = speeds("a", {4, 4, 4});
  curves[{"a", "ours", 1}] = curve({-1, -1});
  CHECK(judge(speed_up(2), plan, curves).reason == "accuracies were not measured");
  curves = speeds("a", {4, 4, 4});
  curves[{"a", "ours", 1}] = curve({0.6, 0.6});
  CHECK(judge(speed_up(2), plan, curves).reason == "a target was reached before training");
}

TEST_CASE("no claim is judged by a setting in which nothing is learnt") {
  const SuitePlan plan = plan_of({"a", "b"}, {1, 2, 3});
  Curves curves = speeds("a", {4, 4, 4});
  for (const uint64_t seed : {1, 2, 3}) {
    curves[{"b", "base", seed}] = curve({0.3, 0.4, 0.35, 0.35});  // ends at 1.1 / 3 = 0.367
    curves[{"b", "ours", seed}] = curve({0.3, 0.3, 0.3, 0.3});
  }
  Judgement judgement = judge(speed_up(4), plan, curves);
  CHECK(judgement.settings[1].learnt);                       // 6.7 points
  CHECK(*judgement.settings[1].measured.mean == Approx(1));  // 30 s / at most 30 s
  CHECK(judgement.verdict == Verdict::kNotReproduced);       // sqrt(4 * 1)
  // One seed alone at 4.7 points: b counts no more, unless the method itself learns.
  curves[{"b", "base", 2}] = curve({0.32, 0.4, 0.35, 0.35});
  curves[{"b", "ours", 2}] = curve({0.3, 0.36, 0.36, 0.36});
  CHECK(judge(speed_up(4), plan, curves).settings[1].learnt);
  curves[{"b", "ours", 2}] = curve({0.3, 0.3, 0.3, 0.3});
  judgement = judge(speed_up(4), plan, curves);
  CHECK_FALSE(judgement.settings[1].learnt);
  CHECK(judgement.settings[1].measured.seeds == 3);  // shown all the same
  CHECK(*judgement.measured.mean == Approx(4));
  CHECK(judgement.verdict == Verdict::kReproduced);
  // A target reached before training is no obstacle there.
  curves[{"b", "ours", 2}] = curve({0.5, 0.5, 0.5, 0.5});
  CHECK(judge(speed_up(4), plan, curves).verdict == Verdict::kReproduced);
  // Nor is one that was not measured, where others were and learnt nothing.
  curves[{"b", "ours", 2}] = curve({-1, -1});
  CHECK(judge(speed_up(4), plan, curves).reason == "accuracies were not measured");
  curves[{"b", "ours", 2}] = curve({0.5, 0.5, 0.5, 0.5});
  // Nothing anywhere.
  const Judgement nothing = judge(speed_up(4), plan_of({"b"}, {1, 2, 3}), curves);
  CHECK(nothing.reason == "nothing was learnt");
  CHECK(nothing.verdict == Verdict::kInconclusive);
  CHECK_FALSE(nothing.measured.mean);
}

TEST_CASE("a suite's tables") {
  SuiteReport report;
  report.suite.set_name("two");
  *report.suite.add_claims() = speed_up(3);
  report.suite.add_assumptions("Guessed.");
  report.suite.add_differences("Smaller.");
  report.plan = plan_of({"a"}, {1, 2, 3});
  report.plan.methods = {"ours", "base"};
  for (const uint64_t seed : {1, 2, 3}) {
    for (const std::string method : {"ours", "base"}) {
      v1::Result result = result_of({0, 0.5, 0.5, 0.5}, method == "ours" ? 10 : 40);
      result.add_assumptions("Bandwidths are round.");
      result.set_numerics("portable");
      v1::ClientRound& part = *result.mutable_rounds(1)->add_clients();
      part.set_train_s(6);
      part.set_download_s(1);
      part.set_upload_s(2);
      part.set_wait_s(1);
      report.records.push_back(
          {{"a", method, seed},
           "done",
           figures_of(result, {.smoothing_s = method == "ours" ? 30.0 : 120.0})});
    }
  }
  report.records.back().status = "failed";
  report.records.back().figures.reset();
  const std::string text = suite_markdown(report);
  CHECK_THAT(text, Contains("| 1 | a | inconclusive (1 of 6 runs are missing) | base | >= 3.00x | "
                            "4.00x | 4.00x to 4.00x | 2 |\n"));
  // The target 0.5 at 30 s, after 900 bytes; seed 3 has none: nothing is known of it.
  CHECK_THAT(text, Contains("| a | ours | 3 | 0.5000 +- 0.0000 | 0.5000 | 30 s | 900 B | 900 B | "
                            "60 % | 30 % | 10 % |\n"));
  CHECK_THAT(text, Contains("- Guessed.\n- Bandwidths are round.\n") && Contains("- Smaller.\n"));
  // Beside a setting in which nothing is learnt.
  report.plan.settings = report.plan.judged = {"a", "b"};
  for (const uint64_t seed : {1, 2, 3}) {
    for (const std::string method : {"ours", "base"}) {
      report.records.push_back(
          {{"b", method, seed}, "done", figures_of(result_of({0.3, 0.3}), {})});
    }
  }
  CHECK_THAT(suite_markdown(report), Contains("|  | b | nothing learnt | base |  |"));
  report.plan.settings = report.plan.judged = {"a"};
  report.records.resize(6);
  CHECK_THAT(suite_text(report), Contains("two\n1 setting x 2 methods x 3 seeds"));
  const std::string table = suite_csv(report);
  CHECK_THAT(table, Contains("\na,ours,1,done,3,30,0.5,0.5,0.5,30,3,900,300,600,6,3,1,,,,") &&
                        Contains("\na,base,3,failed,,,,,,,,,,,,,,,,,\n"));
}

TEST_CASE("text tables") {
  const TextTable table{.header = {"a", "b"}, .left = 1, .rows = {{"long", "1"}, {"x", "22"}}};
  CHECK(aligned(table) == "a      b\nlong   1\nx     22\n");
  CHECK(markdown(table) == "| a | b |\n|---|---:|\n| long | 1 |\n| x | 22 |\n");
  CHECK(duration_text(6.7) == "6.7 s");
  CHECK(duration_text(245) == "4 min 05 s");
  CHECK(duration_text(3723) == "1 h 02 min 03 s");
  CHECK(bytes_text(45600) == "45.6 kB");
  CHECK(joules_text(1.23e9) == "1.23 GJ");
}

}  // namespace
}  // namespace fedclock::results
