#include <cmath>

#include "sim/federation/federation.h"

namespace fedclock::federation {

PlainTraining::PlainTraining(const v1::Local& answer, uint64_t seed)
    : answer_(answer), seed_(seed) {}

learning::Share PlainTraining::whole(int64_t, const learning::Share& global) const {
  return travelling(answer_, global);
}

int64_t PlainTraining::copies() const { return copies_of(answer_); }

Part PlainTraining::part(const Occasion& occasion, int32_t client, const Client& who,
                         const Plan& plan) {
  Part part;
  part.occasion = occasion;
  part.client = client;
  part.held.ranks = plan.held;
  part.held.experts = plan.experts;
  learning::Share tuned{plan.tuned};
  tuned.experts = plan.experts;
  part.down = travelling(answer_, part.held);
  part.up = travelling(answer_, tuned);
  part.copies = copies();
  const double decay = answer_.learning_rate_decay();
  part.job = {.rows = who.train_rows,
              .settings = train_settings(answer_),
              .trained = tuned,
              .learning_rate = answer_.learning_rate() *
                               std::pow(decay, static_cast<double>(occasion.round - 1)),
              .seed = seed_,
              .round = occasion.round,
              .part = occasion.part,
              .client = client,
              .load_balance = plan.experts.empty() ? 0 : answer_.load_balance()};
  return part;
}

Local::Trained PlainTraining::train(learning::Learner& learner, const Part& part,
                                    const learning::Value& global) {
  const learning::Value update = learner.train(received(learner, part, global), part.job);
  return {update, sent(learner, part, update)};
}

learning::Value PlainTraining::received(learning::Learner& learner, const Part& part,
                                        const learning::Value& global) {
  return learner.apply(learning::tailored(part.held), {global}, part.name());
}

learning::Value PlainTraining::sent(learning::Learner& learner, const Part& part,
                                    const learning::Value& update) {
  return learner.apply(learning::only(part.up), {update}, part.name());
}

namespace {

class Proximal : public PlainTraining {
 public:
  Proximal(const v1::Local& answer, uint64_t seed)
      : PlainTraining(answer, seed), mu_(answer.proximal().mu()) {}

  Part part(const Occasion& occasion, int32_t client, const Client& who,
            const Plan& plan) override {
    Part part = PlainTraining::part(occasion, client, who, plan);
    part.job.proximal_mu = mu_;
    return part;
  }

 private:
  double mu_;
};

}  // namespace

std::unique_ptr<Local> train_with_proximal_term(const v1::Local& answer,
                                                const LocalInputs& inputs) {
  return std::make_unique<Proximal>(answer, inputs.seed);
}

}  // namespace fedclock::federation
