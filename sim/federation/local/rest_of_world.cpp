// FedALT (arXiv 2503.11880): an individual adapter that is never overwritten, beside the frozen
// mean of the others', mixed for each token by a router of the client's own.
#include <numeric>

#include "sim/federation/federation.h"

namespace fedclock::federation {

namespace {

// Their numbers as experts of a client's mixture; what travels is no expert.
constexpr int32_t kShared = -1, kIndividual = 0, kRest = 1;

class RestOfWorld : public PlainTraining {
 public:
  RestOfWorld(const v1::Local& answer, const LocalInputs& inputs)
      : PlainTraining(answer, inputs.seed),
        answer_(answer),
        inputs_(inputs),
        own_(static_cast<size_t>(inputs.clients)) {}

  Part part(const Occasion& occasion, int32_t client, const Client& who,
            const Plan& plan) override {
    Part part = PlainTraining::part(occasion, client, who, {plan.tuned, plan.held});
    part.job.trained = trained_share(answer_, part.job.trained, inputs_.targets, inputs_.clients);
    part.held.shared = false;
    part.held.experts = mixtures_of(plan.held, inputs_.targets, 2);
    return part;
  }

  Trained train(learning::Learner& learner, const Part& part, const learning::Value&) override {
    Own& own = own_[static_cast<size_t>(part.client)];
    own.held = part.held;
    const learning::Value start = mixture(learner, part.client, part.name());
    const learning::Value update = learner.train(start, part.job);
    own.state = update;
    const learning::Value individual =
        learner.apply(learning::renamed(kIndividual, kShared), {update}, part.name());
    own.sent = sent(learner, part, individual);
    return {update, own.sent};
  }

  void merged(learning::Learner& learner, const std::vector<int32_t>& clients) override {
    for (const int32_t client : clients) {
      Own& own = own_[static_cast<size_t>(client)];
      own.known = own.sent;
    }
    std::vector<learning::Value> all{inputs_.initial};
    std::vector<double> weights;
    for (size_t client = 0; client < own_.size(); ++client) {
      if (!own_[client].known) continue;
      all.push_back(own_[client].known);
      weights.push_back(weight(client));
    }
    if (weights.empty()) return;  // learning is skipped
    mean_ = learner.apply(learning::mean_of_holders(weights), all, "the individual adapters");
    sum_of_weights_ = std::accumulate(weights.begin(), weights.end(), 0.0);
  }
  // For each client's mean of the others: the sum, which is merged already, less its own, divided.
  cost::Work merge_work(const Workload& workload,
                        const std::vector<Update>& updates) const override {
    cost::Work work;
    for (const Update& update : updates) {
      const auto elements = static_cast<double>(workload.elements(update.share));
      work.forward_flops += 2 * elements;
      work.memory_bytes += 3 * elements * static_cast<double>(workload.spec().bytes_per_element);
    }
    return work;
  }

  bool is_personal() const override { return true; }
  learning::Value model_of(learning::Learner& learner, int32_t client,
                           const learning::Value&) override {
    if (!own_[static_cast<size_t>(client)].state) return inputs_.initial;
    return mixture(learner, client, "a client's own model");
  }

 private:
  struct Own {
    learning::Share held;   // of its last part
    learning::Value state;  // both adapters, router and head, as its last part left them
    learning::Value sent;   // the individual adapter
    learning::Value known;  // the one that the server has
  };

  double weight(size_t client) const {
    return inputs_.mean_by_rows ? static_cast<double>(inputs_.rows[client]->size()) : 1.0;
  }

  // A client's own state, with the mean of what the others sent last.
  learning::Value mixture(learning::Learner& learner, int32_t client, const std::string& name) {
    const Own& own = own_[static_cast<size_t>(client)];
    const learning::Value state = own.state ? own.state : learner.initial(own.held, inputs_.seed);
    learning::Value others = mean_;
    if (others && own.known) {
      const double its = weight(static_cast<size_t>(client));
      if (its == sum_of_weights_) return state;
      others =
          learner.apply(learning::mean_without(its, sum_of_weights_), {others, own.known}, name);
    }
    if (!others) return state;
    const learning::Value rest = learner.apply(learning::renamed(kShared, kRest), {others}, name);
    const learning::Value both = learner.apply(learning::laid_over(), {state, rest}, name);
    return learner.apply(learning::only(own.held), {both}, name);
  }

  v1::Local answer_;
  LocalInputs inputs_;
  std::vector<Own> own_;
  learning::Value mean_;  // of all that are known
  double sum_of_weights_ = 0;
};

}  // namespace

std::unique_ptr<Local> train_beside_rest_of_world(const v1::Local& answer,
                                                  const LocalInputs& inputs) {
  return std::make_unique<RestOfWorld>(answer, inputs);
}

}  // namespace fedclock::federation
