// How deep each group tunes and how often it merges within itself.
#include "sim/federation/assignment/depth_and_frequency.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "models/common/error.h"

namespace fedclock::federation {
namespace {

using Plans = std::vector<GroupPlan>;

// A round of `fixed_s` and `layer_s` for each tuned layer.
PlanningGroup group_of(double rows, double fixed_s, double layer_s, int64_t layers) {
  PlanningGroup group{rows, layers, {}};
  for (int64_t d = 0; d <= layers; ++d) {
    group.round_s.push_back(fixed_s + layer_s * static_cast<double>(d));
  }
  return group;
}

PlanningSettings settings_of(int32_t most_frequency, double rho, double slack = 0) {
  PlanningSettings settings;
  settings.most_frequency = most_frequency;
  settings.rho = rho;
  settings.slack = slack;
  return settings;
}

// All T, all (d, t) of all groups. Two groups at most.
Plans best_by_enumeration(const std::vector<PlanningGroup>& groups, const LayerGains& gains,
                          const PlanningSettings& settings) {
  struct Option {
    GroupPlan plan;
    double seconds;
    double gain;
  };
  double rows = 0;
  for (const PlanningGroup& group : groups) rows += group.rows;
  double all = gains.head;
  for (const double layer : gains.layers) all += layer;
  std::vector<std::vector<Option>> options(groups.size());
  std::vector<double> rounds_s;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (int64_t d = settings.least_depth; d <= groups[g].most_depth; ++d) {
      if (settings.fixed_depth && d != std::min(*settings.fixed_depth, groups[g].most_depth))
        continue;
      double value = gains.head;
      for (int64_t l = 0; l < d; ++l) value += gains.layers[gains.layers.size() - 1 - l];
      for (int32_t t = 1; t <= settings.most_frequency; ++t) {
        if (settings.fixed_frequency && t != *settings.fixed_frequency) continue;
        const double phi = (1 - std::pow(settings.rho, t)) / (1 - settings.rho);
        const double seconds = t * groups[g].round_s[static_cast<size_t>(d)];
        options[g].push_back({{d, t}, seconds, groups[g].rows / rows * value / all * phi});
        rounds_s.push_back(seconds);
      }
    }
  }
  std::sort(rounds_s.begin(), rounds_s.end());
  const std::vector<Option> nothing{{{}, 0, 0}};
  const std::vector<Option>& second = groups.size() > 1 ? options[1] : nothing;
  Plans best;
  double best_value = 0;
  for (const double most_s : rounds_s) {
    const auto in_time = [&](const std::vector<Option>& of, const Option& option) {
      const auto near = [&](const Option& one) {
        return one.seconds <= most_s && one.seconds > (1 - settings.slack) * most_s - 1e-9;
      };
      return option.seconds <= most_s && (near(option) || std::none_of(of.begin(), of.end(), near));
    };
    Plans at_this_time;
    double value = 0;
    for (const Option& a : options[0]) {
      for (const Option& b : second) {
        if (!in_time(options[0], a) || (groups.size() > 1 && !in_time(second, b))) continue;
        const Plans plans = groups.size() > 1 ? Plans{a.plan, b.plan} : Plans{a.plan};
        const double sum = (a.gain + b.gain) / (most_s + settings.merge_s);
        const bool same = std::abs(sum - value) <= 1e-10 * value;
        if (at_this_time.empty() || (same ? plans < at_this_time : sum > value)) {
          at_this_time = plans;
          value = sum;
        }
      }
    }
    if (!at_this_time.empty() && (best.empty() || value > best_value * (1 + 1e-10))) {
      best = at_this_time;
      best_value = value;
    }
  }
  return best;
}

TEST_CASE("a group that is twice as slow merges half as often") {
  // One depth, phi(t) = t (rho 1): both fill T best where it is a multiple of both rounds, and the
  // smallest such T is 2 s. At T = 1 the slow one could do nothing.
  const std::vector<PlanningGroup> groups{group_of(1, 0, 1, 1), group_of(1, 0, 2, 1)};
  CHECK(choose_depth_and_frequency(groups, {0, {1}}, settings_of(8, 1)) == Plans{{1, 2}, {1, 1}});
}

TEST_CASE("a slow group tunes fewer layers where these are worth little") {
  // Both layers: (1 + 9) / 10; the last one alone: 0.9. R = 1, 2 s and 2, 4 s by depth; one merge.
  // T = 2: (0.5 x 1 + 0.5 x 0.9) / 2 = 0.475; T = 4: (0.5 + 0.5) / 4. T = 1 is too short.
  const std::vector<PlanningGroup> groups{group_of(1, 0, 1, 2), group_of(1, 0, 2, 2)};
  CHECK(choose_depth_and_frequency(groups, {0, {1, 9}}, settings_of(1, 0.9)) ==
        Plans{{2, 1}, {1, 1}});
  // Were the first layer worth all, depth 1 would be worth nothing: 0.5 / 2 = 0.25 at T = 2, where
  // only the fast group has it, against 1 / 4 at T = 4. Equal: the smaller T.
  CHECK(choose_depth_and_frequency(groups, {0, {1, 0}}, settings_of(1, 0.9)) ==
        Plans{{2, 1}, {1, 1}});
  // Where most of a round is not tuning, T = 24 (1 / 24) is worth more than T = 22 (0.75 / 22).
  const std::vector<PlanningGroup> heavy{group_of(1, 10, 1, 2), group_of(1, 20, 2, 2)};
  CHECK(choose_depth_and_frequency(heavy, {0, {5, 5}}, settings_of(1, 0.9)) ==
        Plans{{2, 1}, {2, 1}});
}

TEST_CASE("further rounds without a global merge are worth less, and a fixed cost spreads") {
  // One group, R = 1: (1 - rho^t) / (1 - rho) / t falls with t, so one round is best.
  const std::vector<PlanningGroup> one{group_of(1, 0, 1, 1)};
  CHECK(choose_depth_and_frequency(one, {0, {1}}, settings_of(10, 0.9)) == Plans{{1, 1}});
  // A global merge of 2 s: 1 / 3, 1.9 / 4, 2.71 / 5, 3.439 / 6 = 0.573, 4.0951 / 7 = 0.585,
  // 4.68559 / 8 = 0.586 and 5.217031 / 9 = 0.580.
  PlanningSettings with_merge = settings_of(10, 0.9);
  with_merge.merge_s = 2;
  CHECK(choose_depth_and_frequency(one, {0, {1}}, with_merge) == Plans{{1, 6}});
  // A slow one beside it sets T = 5, which the fast one fills.
  const std::vector<PlanningGroup> two{group_of(1, 0, 1, 1), group_of(1, 0, 5, 1)};
  CHECK(choose_depth_and_frequency(two, {0, {1}}, settings_of(10, 0.9)) == Plans{{1, 5}, {1, 1}});
  CHECK(choose_depth_and_frequency(two, {0, {1}}, settings_of(3, 0.9)) == Plans{{1, 3}, {1, 1}});
}

TEST_CASE("the slack leaves out choices that end early") {
  // R = 3, 4 s by depth for the first group, 4 s at both for the second: T = 4. Layer 1 is worth
  // nothing, so depth 1 is as good as depth 2 for both; 3 s is allowed from a slack of 1/4 on.
  std::vector<PlanningGroup> groups{{1, 2, {2, 3, 4}}, {1, 2, {4, 4, 4}}};
  CHECK(choose_depth_and_frequency(groups, {0, {0, 1}}, settings_of(1, 0.9, 0.25)) ==
        Plans{{1, 1}, {1, 1}});
  CHECK(choose_depth_and_frequency(groups, {0, {0, 1}}, settings_of(1, 0.9, 0.2)) ==
        Plans{{2, 1}, {1, 1}});
}

TEST_CASE("memory, a fixed depth and a fixed frequency limit the choice") {
  std::vector<PlanningGroup> groups{group_of(1, 10, 1, 4), group_of(1, 10, 1, 4)};
  const LayerGains gains{1, {5, 5, 5, 5}};
  PlanningSettings settings = settings_of(3, 0.9, 0.5);
  CHECK(choose_depth_and_frequency(groups, gains, settings) == Plans{{4, 1}, {4, 1}});
  groups[1].most_depth = 2;
  CHECK(choose_depth_and_frequency(groups, gains, settings) == Plans{{4, 1}, {2, 1}});
  settings.fixed_depth = 3;
  CHECK(choose_depth_and_frequency(groups, gains, settings) == Plans{{3, 1}, {2, 1}});
  settings.fixed_frequency = 5;  // beyond most_frequency: it is not chosen
  CHECK(choose_depth_and_frequency(groups, gains, settings) == Plans{{3, 5}, {2, 5}});
  settings.fixed_depth.reset();
  settings.fixed_frequency = 2;
  CHECK(choose_depth_and_frequency(groups, gains, settings) == Plans{{4, 2}, {2, 2}});
  groups[1].most_depth = 0;
  CHECK_THROWS_AS(choose_depth_and_frequency(groups, gains, settings), ProgrammerError);
  settings.least_depth = 0;
  CHECK(choose_depth_and_frequency(groups, gains, settings) == Plans{{4, 2}, {0, 2}});
}

TEST_CASE("of equally good choices the smallest T, depth and frequency") {
  // rho 1 and seconds in proportion to the value: every (d, t) has the same value for its time.
  CHECK(choose_depth_and_frequency({group_of(1, 0, 1, 3)}, {0, {1, 1, 1}}, settings_of(4, 1)) ==
        Plans{{1, 1}});
  // 2 s: one round of two layers or two of one, the same gain.
  const std::vector<PlanningGroup> groups{group_of(1, 0, 1, 2), group_of(1, 2, 0, 2)};
  CHECK(choose_depth_and_frequency(groups, {0, {1, 1}}, settings_of(2, 1)) ==
        Plans{{1, 2}, {2, 1}});
  // Rounds that take no time, and layers that never changed.
  CHECK(choose_depth_and_frequency({group_of(1, 0, 0, 2)}, {0, {1, 1}}, settings_of(2, 0.9)) ==
        Plans{{2, 2}});
  CHECK(choose_depth_and_frequency({group_of(0, 1, 0, 2)}, {0, {0, 0}}, settings_of(2, 0.9)) ==
        Plans{{1, 1}});
  CHECK(choose_depth_and_frequency({}, {0, {1}}, settings_of(2, 0.9)).empty());
}

TEST_CASE("the solver finds what enumeration finds") {
  CHECK(rc::check([] {
    const int64_t layers = *rc::gen::inRange(1, 4);
    const bool fractions = *rc::gen::arbitrary<bool>();  // or small numbers with many ties
    const auto any = [&](int least, int most) {
      return fractions ? *rc::gen::inRange(1000 * least + 1, 1000 * most) / 1000.0
                       : double(*rc::gen::inRange(least, most));
    };
    LayerGains gains{any(0, 4), {}};
    for (int64_t l = 0; l < layers; ++l) gains.layers.push_back(any(0, 4));
    gains.layers.back() += 1;
    PlanningSettings settings =
        settings_of(*rc::gen::inRange(1, 5), *rc::gen::element(0.5, 0.9, 0.98),
                    *rc::gen::element(0.0, 0.1, 0.25, 0.5, 1.0));
    settings.least_depth = *rc::gen::inRange(0, 2);
    settings.merge_s = *rc::gen::element(0.0, 1.0, 20.0);
    if (*rc::gen::arbitrary<bool>())
      settings.fixed_frequency = *rc::gen::inRange(1, settings.most_frequency + 1);
    if (*rc::gen::arbitrary<bool>())
      settings.fixed_depth = *rc::gen::inRange<int64_t>(1, layers + 1);
    std::vector<PlanningGroup> groups;
    const int count = *rc::gen::inRange(1, 3);
    for (int g = 0; g < count; ++g) {
      PlanningGroup group{any(1, 5), *rc::gen::inRange<int64_t>(1, layers + 1), {}};
      for (int64_t d = 0; d <= layers; ++d) group.round_s.push_back(any(1, 7));
      groups.push_back(group);
    }
    RC_ASSERT(choose_depth_and_frequency(groups, gains, settings) ==
              best_by_enumeration(groups, gains, settings));
  }));
}

TEST_CASE("the gains are moving averages by layer") {
  GainEstimator estimator(3, true, 0.5);
  CHECK(estimator.gains().head == 1);
  CHECK(estimator.gains().layers == std::vector<double>{1, 1, 1});
  estimator.observe_head(6, 1);
  CHECK(estimator.gains().layers == std::vector<double>{6, 6, 6});  // only the head is known
  estimator.observe(2, 4, 1);
  CHECK(estimator.gains().head == 6);
  CHECK(estimator.gains().layers == std::vector<double>{4, 4, 4});  // not tuned yet: as the tuned
  estimator.observe(1, 1, 0.25);
  CHECK(estimator.gains().layers == std::vector<double>{2.5, 1, 4});
  // Layer 2: 4 counts half of what 10 does: (4 / 4 + 10 / 2) / (3 / 4) = 8.
  estimator.observe(2, 10, 1);
  CHECK(estimator.gains().layers[2] == Approx(8));
  // Two halves of a weight forget as much as one.
  MovingAverage halves(0.5);
  for (const double value : {4.0, 4.0, 10.0, 10.0}) halves.observe(value, 0.5);
  CHECK(halves.value() == Approx(8));

  CHECK(GainEstimator(1, false, 0.5).gains().head == 0);
  GainEstimator deep(2, true, 0.5);
  deep.observe(0, 3, 1);
  CHECK(deep.gains().head == 3);
}

TEST_CASE("rho is the ratio of successive decreases of the loss") {
  GainEstimator estimator(1, false, 0.5);
  CHECK(estimator.rho() == 0.9);
  estimator.observe_losses({3});
  estimator.observe_losses({3, 2});
  estimator.observe_losses({2, 2, 1});  // no decrease to compare with
  CHECK(estimator.rho() == 0.9);
  estimator.observe_losses({3, 2, 1.3});  // decreases of 1 and 0.7
  CHECK(estimator.rho() == Approx(0.8));
  estimator.observe_losses({4, 3, 2.5, 2.1});  // (0.5 + 0.4) / (1 + 0.5) = 0.6
  CHECK(estimator.rho() == Approx(0.7));
  estimator.observe_losses({3, 2, 2.5});  // a rise: as 0.5
  CHECK(estimator.rho() == Approx(0.6));
  estimator.observe_losses({3, 2, 0});  // a larger decrease: as 0.98
  CHECK(estimator.rho() == Approx(0.79));
}

TEST_CASE("round times are learnt from the parts of a round") {
  RoundTimeEstimator estimator({{1, 2}, {3, 6}, {5, 10}}, {100, 200}, {0, 50}, 0.5);
  CHECK(estimator.expected_s(0, 1) == 2);  // nothing observed: the nominal seconds
  estimator.observe_compute(0, 1, 3);      // 1.5 times the nominal
  CHECK(estimator.expected_s(0, 0) == Approx(1.5));
  CHECK(estimator.expected_s(1, 0) == 3);
  estimator.observe_download(0, 1000, 20);  // 0.02 s for each byte
  estimator.observe_download(1, 1000, 40);
  estimator.observe_upload(0, 10, 1);
  estimator.observe_upload(0, 0, 1);  // says nothing about bytes
  CHECK(estimator.expected_s(0, 1) == Approx(3 + 200 * 0.02 + 50 * 0.1));
  CHECK(estimator.expected_s(1, 1) == Approx(6 + 200 * 0.04 + 50 * 0.1));
  CHECK(estimator.expected_s(2, 1) == Approx(10 + 200 * 0.03 + 50 * 0.1));  // as the others
  // (1.5 / 4 + 0.75 / 2) / (3 / 4) = 1.
  estimator.observe_compute(0, 0, 0.75);
  CHECK(estimator.expected_s(0, 0) == Approx(1 + 100 * 0.02));
}

}  // namespace
}  // namespace fedclock::federation
