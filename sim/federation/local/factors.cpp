// Answers that tell apart the two factors of an adapter B A.
#include <vector>

#include "sim/federation/federation.h"

namespace fedclock::federation {

namespace {

// FFA-LoRA (arXiv 2403.12313).
class FrozenA : public PlainTraining {
 public:
  using PlainTraining::PlainTraining;

  Part part(const Occasion& occasion, int32_t client, const Client& who,
            const Plan& plan) override {
    Part part = PlainTraining::part(occasion, client, who, plan);
    part.job.trained.a = false;
    return part;
  }
};

// RoLoRA (arXiv 2409.02346): B in odd rounds, A in even ones.
class Alternating : public PlainTraining {
 public:
  Alternating(const v1::Local& answer, const LocalInputs& inputs)
      : PlainTraining(answer, inputs.seed), last_part_(static_cast<size_t>(inputs.clients), -1) {}

  Part part(const Occasion& occasion, int32_t client, const Client& who,
            const Plan& plan) override {
    Part part = PlainTraining::part(occasion, client, who, plan);
    const bool odd = occasion.round % 2 == 1;
    part.job.trained.a = part.up.a = !odd;
    part.job.trained.b = part.up.b = odd;
    // Of the round before it has all but what that round merged, the other factor; within a round
    // (of a group's parts) the same one changes.
    const int64_t since = occasion.round - last_part_[static_cast<size_t>(client)];
    if (since <= 1) {  // in round 1: of an earlier part in it
      part.down.a = since == 0 ? !odd : odd;
      part.down.b = since == 0 ? odd : !odd;
    }
    return part;
  }

  // What the round before merged.
  learning::Share whole(int64_t round, const learning::Share& global) const override {
    learning::Share whole = global;
    if (round > 1) (round % 2 == 1 ? whole.b : whole.a) = false;
    return whole;
  }

  Trained train(learning::Learner& learner, const Part& part,
                const learning::Value& global) override {
    last_part_[static_cast<size_t>(part.client)] = part.occasion.round;
    return PlainTraining::train(learner, part, global);
  }

 private:
  std::vector<int64_t> last_part_;  // round of each client
};

// FedSA-LoRA (arXiv 2410.01463): A is shared; B and the head are each client's own.
class SharedA : public PlainTraining {
 public:
  SharedA(const v1::Local& answer, const LocalInputs& inputs)
      : PlainTraining(answer, inputs.seed), own_(static_cast<size_t>(inputs.clients)) {}

  Trained train(learning::Learner& learner, const Part& part,
                const learning::Value& global) override {
    Own& own = own_[static_cast<size_t>(part.client)];
    learning::Share kept = part.held;
    kept.a = false;
    learning::Value start = received(learner, part, global);
    if (own.b) {
      const learning::Value b = learner.apply(learning::tailored(kept), {own.b}, part.name());
      start = learner.apply(learning::laid_over(), {start, b}, part.name());
    }
    const learning::Value update = learner.train(start, part.job);
    const learning::Value now = learner.apply(learning::only(kept), {update}, part.name());
    own.b = own.b ? learner.apply(learning::laid_over(), {own.b, now}, part.name()) : now;
    own.ranks.resize(kept.ranks.size());
    for (size_t layer = 0; layer < kept.ranks.size(); ++layer) {
      if (kept.ranks[layer] > 0) own.ranks[layer] = kept.ranks[layer];
    }
    return {update, sent(learner, part, update)};
  }

  bool is_personal() const override { return true; }
  learning::Value model_of(learning::Learner& learner, int32_t client,
                           const learning::Value& global) override {
    const Own& own = own_[static_cast<size_t>(client)];
    if (own.ranks.empty()) return global;
    const learning::Value a =
        learner.apply(learning::tailored({own.ranks}), {global}, "a client's own model");
    return learner.apply(learning::laid_over(), {a, own.b}, "a client's own model");
  }

 private:
  struct Own {
    learning::Value b;           // and the head; empty: as it began
    std::vector<int64_t> ranks;  // of its layers; empty: it took no part yet
  };
  std::vector<Own> own_;
};

}  // namespace

std::unique_ptr<Local> train_with_frozen_a(const v1::Local& answer, const LocalInputs& inputs) {
  return std::make_unique<FrozenA>(answer, inputs.seed);
}
std::unique_ptr<Local> train_alternating(const v1::Local& answer, const LocalInputs& inputs) {
  return std::make_unique<Alternating>(answer, inputs);
}
std::unique_ptr<Local> train_sharing_a(const v1::Local& answer, const LocalInputs& inputs) {
  return std::make_unique<SharedA>(answer, inputs);
}

}  // namespace fedclock::federation
