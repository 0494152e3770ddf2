// HierFedLoRA's depth d_k and frequency t_k of each group: before each global round, from what the
// server has seen until then. The objective and its estimates are in depth_and_frequency.h.
#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "sim/federation/assignment/assignment.h"
#include "sim/federation/assignment/depth_and_frequency.h"

namespace fedclock::federation {

namespace {

class Joint : public Assignment {
 public:
  Joint(const v1::JointAssignment& answer, AssignmentInputs inputs)
      : answer_(answer),
        inputs_(std::move(inputs)),
        ranks_(static_cast<size_t>(inputs_.layers), inputs_.rank),
        merge_s_(answer.smoothing()),
        gains_(inputs_.layers, inputs_.has_head, answer.smoothing()),
        times_(compute_s(), bytes(inputs_.bytes_down), bytes(inputs_.bytes_up),
               answer.smoothing()) {
    if (answer.has_fixed_depth()) ranks_ = last_of(ranks_, answer.fixed_depth());
  }

  void group(const std::vector<Group>& groups) override {
    groups_ = groups;
    for (size_t g = 0; g < groups.size(); ++g) {
      for (const int32_t member : groups[g].members) group_of_[member] = g;
    }
  }

  std::vector<int32_t> frequencies(int64_t) override {
    read();
    std::vector<PlanningGroup> planning;
    for (const Group& group : groups_) planning.push_back(planning_group(group));
    PlanningSettings settings;
    settings.most_frequency = answer_.most_frequency();
    settings.slack = answer_.slack();
    settings.least_depth = answer_.least_depth();
    settings.rho = gains_.rho();
    if (merge_s_.known()) settings.merge_s = merge_s_.value();
    if (answer_.has_fixed_depth()) settings.fixed_depth = answer_.fixed_depth();
    if (answer_.has_fixed_frequency()) settings.fixed_frequency = answer_.fixed_frequency();
    plans_ = choose_depth_and_frequency(planning, gains_.gains(), settings);
    std::vector<int32_t> frequencies;
    planned_s_ = 0;
    for (size_t g = 0; g < plans_.size(); ++g) {
      frequencies.push_back(plans_[g].frequency);
      const double round_s = planning[g].round_s[static_cast<size_t>(plans_[g].depth)];
      planned_s_ = std::max(planned_s_, plans_[g].frequency * round_s);
    }
    return frequencies;
  }

  // A member whose memory does not hold its group's depth tunes what it holds.
  Plan plan(const Occasion&, int32_t client) override {
    const int64_t d_k = plans_.at(group_of_.at(client)).depth;
    const auto tuned = last_of(ranks_, held_by_memory(inputs_.most_layers, client, d_k));
    return {tuned, answer_.whole_download() ? ranks_ : tuned};
  }

  bool takes_part(int32_t client) const override {
    return held_by_memory(inputs_.most_layers, client, inputs_.layers) >= answer_.least_depth();
  }

  void observe(const Observation& seen) override { unread_.push_back(seen); }
  // c: what the round took beyond the plan's T, transfers with aggregators, the merge and how much
  // slower the slowest of those chosen were than expected. The first round was planned without
  // having seen a transfer, and says nothing.
  void observe_round(double seconds) override {
    if (rounds_++ > 0) merge_s_.observe(std::max(0.0, seconds - planned_s_));
  }

 private:
  std::vector<std::vector<double>> compute_s() const {
    std::vector<std::vector<double>> all;
    for (size_t client = 0; client < inputs_.full_depth_step_s.size(); ++client) {
      std::vector<double>& own = all.emplace_back(1, 0.0);  // depth 0 is never chosen
      for (int64_t depth = 1; depth <= inputs_.layers; ++depth) {
        own.push_back(inputs_.training_s(static_cast<int32_t>(client), depth));
      }
    }
    return all;
  }

  std::vector<double> bytes(const std::function<int64_t(int64_t)>& of_depth) const {
    std::vector<double> all(1, 0.0);
    for (int64_t depth = 1; depth <= inputs_.layers; ++depth) {
      all.push_back(static_cast<double>(of_depth(depth)));
    }
    return all;
  }

  PlanningGroup planning_group(const Group& group) const {
    PlanningGroup planning;
    planning.rows = static_cast<double>(group.rows);
    for (const int32_t member : group.members) {
      const int64_t holds = held_by_memory(inputs_.most_layers, member, inputs_.layers);
      planning.most_depth = std::max(planning.most_depth, holds);
    }
    for (int64_t d = 0; d <= inputs_.layers; ++d) {
      std::vector<double> member_s;
      for (const int32_t member : group.members) {
        const int64_t holds = held_by_memory(inputs_.most_layers, member, inputs_.layers);
        member_s.push_back(times_.expected_s(member, std::min(d, std::max<int64_t>(holds, 1))));
      }
      planning.round_s.push_back(expected_slowest(std::move(member_s), group.chosen));
    }
    return planning;
  }

  // R_k(d): the mean of the slowest of so many members drawn without repetition,
  //   sum_i x_(i) C(i - 1, m - 1) / C(n, m)  over the n members' seconds in ascending order.
  static double expected_slowest(std::vector<double> x, int32_t chosen) {
    std::sort(x.begin(), x.end());
    const auto n = static_cast<double>(x.size());
    const double m = chosen > 0 ? std::min<double>(chosen, n) : n;
    double expected_s = 0;
    double share = m / n;  // that the slowest of all is among them
    for (size_t i = x.size(); i-- > 0;) {
      expected_s += x[i] * share;
      const auto below = static_cast<double>(i);  // members that are faster
      if (below < m) break;
      share *= (below - m + 1) / below;  // C(i - 2, m - 1) / C(i - 1, m - 1)
    }
    return expected_s;
  }

  // What arrived since the last time: durations, losses and update norms.
  void read() {
    struct Mean {
      double sum = 0, rows = 0;
    };
    std::map<std::tuple<size_t, int64_t, int64_t>, Mean> losses;  // by group, round and part
    double all_rows = 0;
    for (const Observation& seen : unread_) all_rows += static_cast<double>(seen.rows);
    for (const Observation& seen : unread_) {
      times_.observe_compute(seen.client, seen.plan.depth(), seen.train_s);
      if (seen.bytes_down > 0) {
        times_.observe_download(seen.client, static_cast<double>(seen.bytes_down), seen.download_s);
      }
      if (seen.bytes_up > 0) {
        times_.observe_upload(seen.client, static_cast<double>(seen.bytes_up), seen.upload_s);
      }
      const learning::TrainingNumbers numbers = inputs_.learner->training_numbers(seen.update);
      // All that is new weighs 1 together.
      const double weight = static_cast<double>(seen.rows) / all_rows;
      if (inputs_.has_head) gains_.observe_head(numbers.head_update, weight);
      for (int64_t layer = 0; layer < inputs_.layers; ++layer) {
        const auto place = static_cast<size_t>(layer);
        if (seen.plan.tuned[place] > 0) {
          gains_.observe(layer, numbers.layer_updates[place], weight);
        }
      }
      Mean& mean = losses[{group_of_.at(seen.client), seen.occasion.round, seen.occasion.part}];
      mean.sum += static_cast<double>(seen.rows) * numbers.mean_loss;
      mean.rows += static_cast<double>(seen.rows);
    }
    unread_.clear();
    std::map<std::pair<size_t, int64_t>, std::vector<double>> by_round;
    for (const auto& [key, mean] : losses) {
      by_round[{std::get<0>(key), std::get<1>(key)}].push_back(mean.sum / mean.rows);
    }
    for (const auto& [key, of_parts] : by_round) gains_.observe_losses(of_parts);
  }

  v1::JointAssignment answer_;
  AssignmentInputs inputs_;
  std::vector<int64_t> ranks_;
  std::vector<Group> groups_;
  std::map<int32_t, size_t> group_of_;
  std::vector<GroupPlan> plans_;
  std::vector<Observation> unread_;
  MovingAverage merge_s_;  // c
  double planned_s_ = 0;   // T of the present round
  int64_t rounds_ = 0;
  GainEstimator gains_;
  RoundTimeEstimator times_;
};

}  // namespace

std::unique_ptr<Assignment> assign_jointly(const v1::JointAssignment& answer,
                                           AssignmentInputs inputs) {
  return std::make_unique<Joint>(answer, std::move(inputs));
}

}  // namespace fedclock::federation
