// FDLoRA (arXiv 2406.07925): a private adapter beside the shared one, fused at inference.
#include <algorithm>
#include <vector>

#include "sim/federation/federation.h"

namespace fedclock::federation {

namespace {

class PrivateBesideShared : public PlainTraining {
 public:
  PrivateBesideShared(const v1::Local& answer, const LocalInputs& inputs)
      : PlainTraining(answer, inputs.seed),
        answer_(answer.private_beside_shared()),
        rows_(inputs.rows),
        own_(static_cast<size_t>(inputs.clients)) {}

  Trained train(learning::Learner& learner, const Part& part,
                const learning::Value& global) override {
    const Trained trained = PlainTraining::train(learner, part, global);
    Own& own = own_[static_cast<size_t>(part.client)];
    if (own.parts++ % answer_.sync_every() == 0) {
      own.adapter = learner.apply(learning::only(part.held), {trained.update}, part.name());
      own.share = part.held;
    }
    return trained;
  }

  bool is_personal() const override { return true; }
  learning::Value model_of(learning::Learner& learner, int32_t client,
                           const learning::Value& global) override {
    const Own& own = own_[static_cast<size_t>(client)];
    if (own.parts == 0) return global;
    const learning::Rows& all = rows_[static_cast<size_t>(client)];
    const size_t count = std::min(all->size(), static_cast<size_t>(answer_.fusion_rows()));
    const auto few = std::make_shared<const std::vector<int32_t>>(
        all->begin(), all->begin() + static_cast<std::ptrdiff_t>(count));
    const learning::Value shared =
        learner.apply(learning::tailored(own.share), {global}, "a client's own model");
    return learner.apply(learning::fused(few), {shared, own.adapter}, "a client's own model");
  }

 private:
  struct Own {
    int64_t parts = 0;
    learning::Value adapter;
    learning::Share share;
  };
  v1::PrivateLocal answer_;
  std::vector<learning::Rows> rows_;
  std::vector<Own> own_;
};

}  // namespace

std::unique_ptr<Local> train_private_beside_shared(const v1::Local& answer,
                                                   const LocalInputs& inputs) {
  return std::make_unique<PrivateBesideShared>(answer, inputs);
}

}  // namespace fedclock::federation
