// FedALT (arXiv 2503.11880): an individual adapter that is never overwritten, beside the frozen
// mean of the others', mixed for each token by a router of the client's own.
#include "sim/federation/assignment/assignment.h"
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
    Part part = PlainTraining::part(occasion, client, who, plan);
    part.job.trained = trained_share(answer_, part.job.trained, inputs_.targets);
    part.held.shared = false;
    part.held.experts = first_experts(modules_of(std::ssize(plan.held), inputs_.targets), 2);
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

  void merged(learning::Learner&, const std::vector<int32_t>& clients) override {
    for (const int32_t client : clients) {
      Own& own = own_[static_cast<size_t>(client)];
      own.known = own.sent;
    }
  }
  // Their sum is merged already: of each client the sum less its own, divided by the others'
  // number.
  double merge_flops(const Workload& workload, const std::vector<Update>& updates) const override {
    double flops = 0;
    for (const Update& update : updates) {
      flops += 2.0 * static_cast<double>(workload.elements(update.share));
    }
    return flops;
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

  // A client's own state, with the mean of what the others sent last.
  learning::Value mixture(learning::Learner& learner, int32_t client, const std::string& name) {
    const Own& own = own_[static_cast<size_t>(client)];
    learning::Value state = own.state ? own.state : learner.initial(own.held, inputs_.seed);
    std::vector<learning::Value> others{inputs_.initial};
    for (const Own& other : own_) {
      if (&other != &own && other.known) others.push_back(other.known);
    }
    if (others.size() == 1) return state;
    const std::vector<double> weights(others.size() - 1, 1.0);
    const learning::Value mean = learner.apply(learning::mean_of_holders(weights), others, name);
    const learning::Value rest = learner.apply(learning::renamed(kShared, kRest), {mean}, name);
    state = learner.apply(learning::laid_over(), {state, rest}, name);
    return learner.apply(learning::only(own.held), {state}, name);
  }

  v1::Local answer_;
  LocalInputs inputs_;
  std::vector<Own> own_;
};

}  // namespace

std::unique_ptr<Local> train_beside_rest_of_world(const v1::Local& answer,
                                                  const LocalInputs& inputs) {
  return std::make_unique<RestOfWorld>(answer, inputs);
}

}  // namespace fedclock::federation
