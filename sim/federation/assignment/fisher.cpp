// Fed-HeLLo (arXiv 2506.12213): the server keeps a Fisher score F_l of each layer and each client
// tunes m_i of the layers, drawn without repetition with probabilities in proportion to F_l.
#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "models/common/random.h"
#include "sim/federation/assignment/assignment.h"

namespace fedclock::federation {

namespace {

class Fisher : public Assignment {
 public:
  Fisher(const v1::FisherAssignment& answer, AssignmentInputs inputs)
      : inputs_(std::move(inputs)), ranks_(static_cast<size_t>(inputs_.layers), inputs_.rank) {
    const auto levels = levels_by_capacity(inputs_.full_depth_step_s,
                                           static_cast<size_t>(answer.layer_shares_size()));
    for (const size_t level : levels) {
      tuned_.push_back(layers_of(answer.layer_shares(static_cast<int>(level)), inputs_.layers));
    }
    last_.resize(ranks_.size());
  }

  Plan plan(const Occasion& occasion, int32_t client) override {
    const auto place = static_cast<size_t>(client);
    // Memory holds so many layers counted from the output: the lowest drawn one counts.
    const int64_t most = held_by_memory(inputs_.most_layers, client, inputs_.layers);
    const int64_t count = std::min(tuned_[place], most);
    Random random(inputs_.seed, "layers by score " + std::to_string(occasion.key()),
                  static_cast<uint64_t>(occasion.round), static_cast<uint64_t>(client));
    std::vector<double> left = scores(occasion.round);
    std::fill(left.begin(), left.end() - most, 0.0);
    std::vector<int64_t> tuned(ranks_.size(), 0);
    for (int64_t drawn = 0; drawn < count; ++drawn) {
      const size_t layer = draw(random, left);
      tuned[layer] = ranks_[layer];
      left[layer] = 0;
    }
    return {tuned, ranks_};
  }

  bool takes_part(int32_t client) const override {
    return held_by_memory(inputs_.most_layers, client, inputs_.layers) >= 1;
  }

  void observe(const Observation& seen) override { unread_.push_back(seen); }

 private:
  static size_t draw(Random& random, const std::vector<double>& scores) {
    double sum = 0;
    for (const double score : scores) sum += score;
    double at = random.uniform() * sum;
    size_t last = 0;
    for (size_t layer = 0; layer < scores.size(); ++layer) {
      if (scores[layer] <= 0) continue;
      last = layer;
      if (at < scores[layer]) break;
      at -= scores[layer];
    }
    return last;
  }

  // F_l: the mean over those who tuned the layer when it was last tuned.
  const std::vector<double>& scores(int64_t round) {
    if (round == scored_round_) return scores_;
    while (!unread_.empty() && unread_.front().occasion.round < round) {
      read(unread_.front());
      unread_.pop_front();
    }
    double sum = 0, seen = 0;
    for (const Last& last : last_) {
      if (last.clients == 0) continue;
      sum += last.sum / last.clients;
      ++seen;
    }
    scores_.clear();
    for (const Last& last : last_) {
      const double score = last.clients > 0 ? last.sum / last.clients : seen > 0 ? sum / seen : 1;
      // A layer without any gradient, or with one that is no number, may still be drawn.
      scores_.push_back(std::isfinite(score) ? std::max(score, 1e-300) : 1e-300);
    }
    scored_round_ = round;
    return scores_;
  }

  void read(const Observation& seen) {
    const std::vector<double> fisher = inputs_.learner->training_numbers(seen.update).layer_fisher;
    for (size_t layer = 0; layer < last_.size(); ++layer) {
      if (seen.plan.tuned[layer] == 0) continue;
      Last& last = last_[layer];
      if (seen.occasion.round < last.round) continue;  // it came late
      if (seen.occasion.round > last.round) last = {seen.occasion.round, 0, 0};
      last.sum += fisher[layer];
      ++last.clients;
    }
  }

  struct Last {
    int64_t round = 0;
    double sum = 0, clients = 0;
  };
  AssignmentInputs inputs_;
  std::vector<int64_t> ranks_;
  std::vector<int64_t> tuned_;  // how many layers each client tunes
  std::deque<Observation> unread_;
  std::vector<Last> last_;  // of each layer
  std::vector<double> scores_;
  int64_t scored_round_ = -1;
};

}  // namespace

std::unique_ptr<Assignment> assign_by_fisher(const v1::FisherAssignment& answer,
                                             AssignmentInputs inputs) {
  return std::make_unique<Fisher>(answer, std::move(inputs));
}

}  // namespace fedclock::federation
