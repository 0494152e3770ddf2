#include "sim/federation/aggregation/aggregation.h"

namespace fedclock::federation {

namespace {

// theta <- sum_i (n_i / n) theta_i (FedAvg, arXiv 1602.05629, algorithm 1).
class Mean : public Aggregation {
 public:
  explicit Mean(bool weight_by_rows) : weight_by_rows_(weight_by_rows) {}

  learning::Value merge(learning::Learner& learner, const Occasion& occasion,
                        const learning::Value& global,
                        const std::vector<Update>& updates) override {
    const std::vector<double> n_i =
        weight_by_rows_ ? rows_of(updates) : std::vector<double>(updates.size(), 1.0);
    return apply(learner, learning::mean_of_holders(n_i), occasion, {global}, updates);
  }

 private:
  bool weight_by_rows_;
};

// HetLoRA (arXiv 2401.06432): zero-padded, weighted by ||B_k A_k||.
class Padded : public Aggregation {
 public:
  learning::Value merge(learning::Learner& learner, const Occasion& occasion,
                        const learning::Value& global,
                        const std::vector<Update>& updates) override {
    return apply(learner, learning::zero_padded(rows_of(updates)), occasion, {global}, updates);
  }

  // Besides the sum the norms, by trace((B^T B)(A A^T)): 2 r^2 (in + out) for each adapter.
  cost::Work work(const Workload& workload, const std::vector<Update>& updates) const override {
    cost::Work work = Aggregation::work(workload, updates);
    for (const Update& update : updates) {
      workload.for_each_adapter(update.share, [&](int64_t rank, int64_t in, int64_t out) {
        work.forward_flops += 2.0 * static_cast<double>(rank * rank * (in + out));
      });
    }
    return work;
  }
};

}  // namespace

std::unique_ptr<Aggregation> weighted_mean(const v1::MeanAggregation& answer) {
  return std::make_unique<Mean>(answer.weight_by_rows());
}

std::unique_ptr<Aggregation> padded_with_zeros() { return std::make_unique<Padded>(); }

}  // namespace fedclock::federation
