// FedAPEN (KDD 2023): a private model beside the shared one, trained on each other's predictions,
// and used together.
#include "sim/federation/federation.h"

namespace fedclock::federation {

namespace {

class Mutual : public PlainTraining {
 public:
  Mutual(const v1::Local& answer, const LocalInputs& inputs)
      : PlainTraining(answer, inputs.seed),
        settings_{.epochs = answer.mutual().weight_epochs(),
                  .batch_rows = answer.batch_size(),
                  .learning_rate = answer.mutual().weight_learning_rate()},
        initial_(inputs.initial),
        own_(static_cast<size_t>(inputs.clients)) {}

  // The weight is learnt as soon as the shared model has come, but for the first time, when the
  // models are equal.
  Part part(const Occasion& occasion, int32_t client, const Client& who,
            const Plan& plan) override {
    Part part = PlainTraining::part(occasion, client, who, plan);
    part.job.ensemble = true;
    Own& own = own_[static_cast<size_t>(client)];
    own.auxiliary_rows = who.auxiliary_rows;
    if (own.parts > 0) part.passed_rows = settings_.epochs * std::ssize(*who.auxiliary_rows);
    return part;
  }

  Trained train(learning::Learner& learner, const Part& part,
                const learning::Value& global) override {
    Own& own = own_[static_cast<size_t>(part.client)];
    if (own.parts == 0) own.model = initial_;
    own.held = part.held;
    const learning::Value start = both(learner, own, global, part.name());
    const learning::Value update = learner.train(start, part.job);
    own.model = learner.apply(learning::private_model(), {update}, part.name());
    ++own.parts;
    const learning::Value shared = learner.apply(learning::shared_model(), {update}, part.name());
    return {update, sent(learner, part, shared)};
  }

  bool is_personal() const override { return true; }
  learning::Value model_of(learning::Learner& learner, int32_t client,
                           const learning::Value& global) override {
    Own own = own_[static_cast<size_t>(client)];  // the weight is the next part's to keep
    return own.parts == 0 ? global : both(learner, own, global, "a client's own model");
  }

 private:
  struct Own {
    int64_t parts = 0;
    learning::Rows auxiliary_rows;
    learning::Share held;    // of its last part
    learning::Value model;   // the private one
    learning::Value weight;  // of that one, as last learnt
  };

  // Both models, with the weight that the client learns of them.
  learning::Value both(learning::Learner& learner, Own& own, const learning::Value& global,
                       const std::string& name) const {
    const auto held = learning::tailored(own.held);
    std::vector<learning::Value> models = {learner.apply(held, {global}, name),
                                           learner.apply(held, {own.model}, name)};
    if (own.parts > 0 && settings_.epochs > 0) {
      if (own.weight) models.push_back(own.weight);
      own.weight = learner.apply(learning::learned_weight(own.auxiliary_rows, settings_),
                                 {learner.apply(learning::ensemble(), models, name)}, name);
    }
    models.resize(2);
    if (own.weight) models.push_back(own.weight);
    return learner.apply(learning::ensemble(), models, name);
  }

  const learning::WeightSettings settings_;
  const learning::Value initial_;
  std::vector<Own> own_;
};

}  // namespace

std::unique_ptr<Local> train_mutually(const v1::Local& answer, const LocalInputs& inputs) {
  return std::make_unique<Mutual>(answer, inputs);
}

}  // namespace fedclock::federation
