// HetLoRA's rank self-pruning (arXiv 2401.06432): lambda ||B[:, g r:]|| ||A[g r:, :]|| in the loss;
// r <- g r where the product is smaller after local training than before.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sim/federation/federation.h"

namespace fedclock::federation {

namespace {

class SelfPruning : public PlainTraining {
 public:
  SelfPruning(const v1::Local& answer, const LocalInputs& inputs)
      : PlainTraining(answer, inputs.seed),
        answer_(answer.self_pruning()),
        learner_(*inputs.learner),
        own_(static_cast<size_t>(inputs.clients)) {}

  Part part(const Occasion& occasion, int32_t client, const Client& who,
            const Plan& plan) override {
    Own& own = own_[static_cast<size_t>(client)];
    if (own.rank == 0) own.rank = *std::max_element(plan.held.begin(), plan.held.end());
    prune(own);
    Plan pruned = plan;
    for (auto* ranks : {&pruned.tuned, &pruned.held}) {
      for (int64_t& rank : *ranks) rank = std::min(rank, own.rank);
    }
    Part part = PlainTraining::part(occasion, client, who, pruned);
    part.job.tail_keep = kept(own.rank);
    part.job.tail_lambda = part.job.tail_keep < own.rank ? answer_.lambda() : 0;
    return part;
  }

  Trained train(learning::Learner& learner, const Part& part,
                const learning::Value& global) override {
    const learning::Value start = received(learner, part, global);
    const learning::Value update = learner.train(start, part.job);
    Own& own = own_[static_cast<size_t>(part.client)];
    own.before = learner.apply(learning::tail_norm(part.job.tail_keep), {start}, part.name());
    own.after = learner.apply(learning::tail_norm(part.job.tail_keep), {update}, part.name());
    return {update, sent(learner, part, update)};
  }

 private:
  struct Own {
    int64_t rank = 0;               // r_k, from the first part on that holds an adapter
    learning::Value before, after;  // norms of the tail in its last training
  };

  // g r, rounded down.
  int64_t kept(int64_t rank) const {
    const auto kept =
        static_cast<int64_t>(std::floor(answer_.gamma() * static_cast<double>(rank) + 1e-9));
    return std::clamp<int64_t>(kept, std::min<int64_t>(answer_.least_rank(), rank), rank);
  }

  void prune(Own& own) {
    if (!own.after) return;
    if (learner_.numbers(own.after).at(0) < learner_.numbers(own.before).at(0)) {
      own.rank = kept(own.rank);
    }
    own.before = own.after = nullptr;
  }

  v1::SelfPruningLocal answer_;
  learning::Learner& learner_;
  std::vector<Own> own_;
};

}  // namespace

std::unique_ptr<Local> train_with_self_pruning(const v1::Local& answer, const LocalInputs& inputs) {
  return std::make_unique<SelfPruning>(answer, inputs);
}

}  // namespace fedclock::federation
