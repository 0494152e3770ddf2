#include "sim/federation/assignment/depth_and_frequency.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <deque>
#include <numeric>
#include <utility>

#include "models/common/error.h"

namespace fedclock::federation {

namespace {

// Sums of the same terms in another order differ by less.
constexpr double kSame = 1e-12;

struct Choice {
  GroupPlan plan;
  double seconds = 0;  // t R(d)
  double gain = 0;     // (n_g / n) v(d) phi(t)
};

bool better(const Choice& a, const Choice& b) {
  if (std::abs(a.gain - b.gain) > kSame * std::max(a.gain, b.gain)) return a.gain > b.gain;
  return a.plan < b.plan;
}

// v(d) of d = 0, ..., L. Where no layer ever changed, all count the same.
std::vector<double> depth_values(const LayerGains& gains) {
  const double all = std::accumulate(gains.layers.begin(), gains.layers.end(), gains.head);
  if (!(all > 0)) return std::vector<double>(gains.layers.size() + 1, 1.0);
  std::vector<double> values{gains.head};
  for (auto layer = gains.layers.rbegin(); layer != gains.layers.rend(); ++layer) {
    ensure(*layer >= 0, "a squared norm below 0");
    values.push_back(values.back() + *layer);
  }
  for (double& value : values) value /= all;
  return values;
}

// phi(t) of t = 0, ..., most.
std::vector<double> frequency_values(double rho, int32_t most) {
  std::vector<double> values{0};
  for (int32_t t = 1; t <= most; ++t) values.push_back(1 + rho * values.back());
  return values;
}

// All choices of a group, by seconds.
std::vector<Choice> choices_of(const PlanningGroup& group, double share,
                               const std::vector<double>& depth_value,
                               const PlanningSettings& settings) {
  ensure(group.round_s.size() == depth_value.size(), "round seconds: not one for each depth");
  ensure(group.most_depth >= settings.least_depth, "a group that cannot tune the least depth");
  int64_t least_depth = settings.least_depth;
  int64_t most_depth = std::min(group.most_depth, std::ssize(depth_value) - 1);
  if (settings.fixed_depth) least_depth = most_depth = std::min(*settings.fixed_depth, most_depth);
  const int32_t least = settings.fixed_frequency.value_or(1);
  const int32_t most = settings.fixed_frequency.value_or(settings.most_frequency);
  ensure(least >= 1 && most >= least && least_depth >= 0, "no frequency or depth to choose from");

  const std::vector<double> phi = frequency_values(settings.rho, most);
  std::vector<Choice> choices;
  for (int64_t d = least_depth; d <= most_depth; ++d) {
    const double round_s = group.round_s[static_cast<size_t>(d)];
    ensure(round_s >= 0 && std::isfinite(round_s), "round seconds: not a time");
    for (int32_t t = least; t <= most; ++t) {
      choices.push_back(
          {{d, t},
           t * round_s,
           share * depth_value[static_cast<size_t>(d)] * phi[static_cast<size_t>(t)]});
    }
  }
  std::stable_sort(choices.begin(), choices.end(),
                   [](const Choice& a, const Choice& b) { return a.seconds < b.seconds; });
  return choices;
}

// The best choice of one group for each T of an ascending sequence.
class Frontier {
 public:
  Frontier(std::vector<Choice> choices, double slack)
      : choices_(std::move(choices)), slack_(slack) {}

  // None where the group cannot do anything within T.
  const Choice* best(double most_s) {
    for (; next_ < choices_.size() && choices_[next_].seconds <= most_s; ++next_) {
      const Choice& choice = choices_[next_];
      if (best_of_all_ == nullptr || better(choice, *best_of_all_)) best_of_all_ = &choice;
      while (!window_.empty() && better(choice, *window_.back())) window_.pop_back();
      window_.push_back(&choice);
    }
    const double least_s = (1 - slack_) * most_s * (1 - kSame);
    while (!window_.empty() && window_.front()->seconds < least_s) window_.pop_front();
    return window_.empty() ? best_of_all_ : window_.front();
  }

 private:
  std::vector<Choice> choices_;  // by seconds
  double slack_;
  size_t next_ = 0;
  // Those of the last (1 - slack) T seconds that no later and better one outlasts: the best first.
  std::deque<const Choice*> window_;
  const Choice* best_of_all_ = nullptr;
};

}  // namespace

std::vector<GroupPlan> choose_depth_and_frequency(const std::vector<PlanningGroup>& groups,
                                                  const LayerGains& gains,
                                                  const PlanningSettings& settings) {
  ensure(settings.slack >= 0 && settings.slack <= 1, "a slack outside of [0, 1]");
  ensure(settings.merge_s >= 0, "merge seconds below 0");
  double rows = 0;
  for (const PlanningGroup& group : groups) rows += group.rows;
  const std::vector<double> depth_value = depth_values(gains);
  std::vector<Frontier> frontiers;
  std::vector<double> candidates_s;  // the values of T
  for (const PlanningGroup& group : groups) {
    const double share = rows > 0 ? group.rows / rows : 1.0 / static_cast<double>(groups.size());
    std::vector<Choice> choices = choices_of(group, share, depth_value, settings);
    for (const Choice& choice : choices) candidates_s.push_back(choice.seconds);
    frontiers.emplace_back(std::move(choices), settings.slack);
  }
  std::sort(candidates_s.begin(), candidates_s.end());
  candidates_s.erase(std::unique(candidates_s.begin(), candidates_s.end()), candidates_s.end());

  std::vector<GroupPlan> best;
  std::vector<GroupPlan> plans(groups.size());
  double best_value = 0;
  for (const double most_s : candidates_s) {
    double gain = 0;
    bool feasible = true;
    for (size_t g = 0; g < groups.size(); ++g) {
      const Choice* choice = frontiers[g].best(most_s);
      feasible = feasible && choice != nullptr;
      if (!feasible) continue;
      gain += choice->gain;
      plans[g] = choice->plan;
    }
    const double value =
        gain / std::max(most_s + settings.merge_s, DBL_MIN);  // of a round without seconds: huge
    if (feasible && (best.empty() || value > best_value * (1 + kSame))) {
      best = plans;
      best_value = value;
    }
  }
  return best;
}

void MovingAverage::observe(double value, double weight) {
  const double share = 1 - std::pow(1 - rate_, weight);
  sum_ += share * (value - sum_);
  weight_ += share * (1 - weight_);
}

GainEstimator::GainEstimator(int64_t layers, bool has_head, double rate)
    : rate_(rate),
      has_head_(has_head),
      head_(rate),
      layers_(static_cast<size_t>(layers), MovingAverage(rate)) {
  ensure(rate > 0 && rate <= 1, "a rate outside of (0, 1]");
}

void GainEstimator::observe(int64_t layer, double squared_norm, double weight) {
  layers_.at(static_cast<size_t>(layer)).observe(squared_norm, weight);
}

void GainEstimator::observe_head(double squared_norm, double weight) {
  head_.observe(squared_norm, weight);
}

void GainEstimator::observe_losses(const std::vector<double>& losses) {
  if (losses.size() < 3) return;
  const double earlier = losses.front() - losses[losses.size() - 2];
  const double later = losses[1] - losses.back();
  if (!(earlier > 0) || !std::isfinite(later)) return;  // no decrease to compare with
  rho_ += rate_ * (std::clamp(later / earlier, 0.5, 0.98) - rho_);
}

LayerGains GainEstimator::gains() const {
  double sum = 0;
  int64_t known = 0;
  for (const MovingAverage& layer : layers_) {
    if (!layer.known()) continue;
    sum += layer.value();
    ++known;
  }
  const double head = head_.known() ? head_.value()
                      : known > 0   ? sum / static_cast<double>(known)
                                    : 1.0;
  const double layer_mean = known > 0 ? sum / static_cast<double>(known) : head;
  LayerGains gains{has_head_ ? head : 0, {}};
  for (const MovingAverage& layer : layers_) {
    gains.layers.push_back(layer.known() ? layer.value() : layer_mean);
  }
  return gains;
}

RoundTimeEstimator::RoundTimeEstimator(std::vector<std::vector<double>> compute_s,
                                       std::vector<double> down_bytes, std::vector<double> up_bytes,
                                       double rate)
    : down_bytes_(std::move(down_bytes)), up_bytes_(std::move(up_bytes)) {
  ensure(rate > 0 && rate <= 1, "a rate outside of (0, 1]");
  const MovingAverage nothing(rate);
  for (std::vector<double>& by_depth : compute_s) {
    clients_.push_back({std::move(by_depth), nothing, nothing, nothing});
  }
}

void RoundTimeEstimator::observe_compute(int32_t client, int64_t depth, double seconds) {
  Client& its = clients_.at(static_cast<size_t>(client));
  const double nominal_s = its.compute_s.at(static_cast<size_t>(depth));
  if (nominal_s > 0) its.factor.observe(seconds / nominal_s);
}

void RoundTimeEstimator::observe_download(int32_t client, double bytes, double seconds) {
  if (bytes > 0) clients_.at(static_cast<size_t>(client)).down_s_per_byte.observe(seconds / bytes);
}

void RoundTimeEstimator::observe_upload(int32_t client, double bytes, double seconds) {
  if (bytes > 0) clients_.at(static_cast<size_t>(client)).up_s_per_byte.observe(seconds / bytes);
}

double RoundTimeEstimator::average(const Client& client, MovingAverage Client::*which) const {
  if ((client.*which).known()) return (client.*which).value();
  double sum = 0;
  int64_t known = 0;
  for (const Client& other : clients_) {
    if (!(other.*which).known()) continue;
    sum += (other.*which).value();
    ++known;
  }
  return known > 0 ? sum / static_cast<double>(known) : 0;
}

double RoundTimeEstimator::expected_s(int32_t client, int64_t depth) const {
  const Client& its = clients_.at(static_cast<size_t>(client));
  const auto d = static_cast<size_t>(depth);
  const double factor = its.factor.known() ? its.factor.value() : 1;
  return factor * its.compute_s.at(d) + average(its, &Client::down_s_per_byte) * down_bytes_.at(d) +
         average(its, &Client::up_s_per_byte) * up_bytes_.at(d);
}

}  // namespace fedclock::federation
