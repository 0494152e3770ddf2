#include "sim/federation/aggregation/aggregation.h"

namespace fedclock::federation {

namespace {

// theta <- sum_i (n_i / n) theta_i (FedAvg, arXiv 1602.05629, algorithm 1).
class Mean : public Aggregation {
 public:
  explicit Mean(bool weight_by_rows) : weight_by_rows_(weight_by_rows) {}

  learning::Value merge(learning::Learner& learner, const learning::Value&,
                        const std::vector<Update>& updates) override {
    double n = 0;
    std::vector<double> weights;
    std::vector<learning::Value> states;
    for (const Update& update : updates) {
      const double n_i = weight_by_rows_ ? static_cast<double>(update.rows) : 1.0;
      n += n_i;
      weights.push_back(n_i);
      states.push_back(update.state);
    }
    for (double& weight : weights) weight /= n;
    return learner.merge(states, weights);
  }

 private:
  bool weight_by_rows_;
};

}  // namespace

std::unique_ptr<Aggregation> weighted_mean(const v1::MeanAggregation& answer) {
  return std::make_unique<Mean>(answer.weight_by_rows());
}

}  // namespace fedclock::federation
