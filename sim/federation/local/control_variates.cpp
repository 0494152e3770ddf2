// SCAFFOLD (arXiv 1910.06378, algorithm 1, option II). Client i, K steps of rate eta from x:
//   y_i <- y_i - eta (g_i(y_i) + c - c_i)
//   c_i+ <- c_i - c + (x - y_i) / (K eta)
// and the server: c <- c + (1 / N) sum_{i in S} (c_i+ - c_i).
#include <map>
#include <utility>
#include <vector>

#include "sim/federation/federation.h"

namespace fedclock::federation {

namespace {

class ControlVariates : public PlainTraining {
 public:
  ControlVariates(const v1::Local& answer, const LocalInputs& inputs)
      : PlainTraining(answer, inputs.seed),
        clients_(static_cast<double>(inputs.participants)),
        c_(nothing(inputs)),
        own_(static_cast<size_t>(inputs.clients), c_),
        sent_(own_) {}

  Part part(const Occasion& occasion, int32_t client, const Client& who,
            const Plan& plan) override {
    Part part = PlainTraining::part(occasion, client, who, plan);
    part.job.has_controls = true;
    sent_[static_cast<size_t>(client)] = c_;
    return part;
  }

  Trained train(learning::Learner& learner, const Part& part,
                const learning::Value& global) override {
    learning::Value& c_i = own_[static_cast<size_t>(part.client)];
    const learning::Value start = received(learner, part, global);
    const learning::Value& c = sent_[static_cast<size_t>(part.client)];
    const learning::Value update = learner.train(start, part.job, {c, c_i});
    const learning::Value y_i = sent(learner, part, update);
    const auto rows = static_cast<int64_t>(part.job.rows->size());
    const double k_eta =
        static_cast<double>(part.job.settings.steps_for(rows)) * part.job.learning_rate;
    const learning::Value c_i_new =
        learner.apply(learning::new_control(1 / k_eta), {c, start, y_i, c_i}, part.name());
    // Of several parts before a merge, the first old and the last new one.
    const auto [moved, first] = moved_.try_emplace(part.client, c_i, c_i_new);
    if (!first) moved->second.second = c_i_new;
    c_i = c_i_new;
    return {update, y_i};
  }

  void merged(learning::Learner& learner, const std::vector<int32_t>& clients) override {
    std::vector<learning::Value> inputs = {c_};
    for (const int32_t client : clients) {
      const auto found = moved_.find(client);
      if (found == moved_.end()) continue;
      inputs.push_back(found->second.first);
      inputs.push_back(found->second.second);
      moved_.erase(found);
    }
    if (inputs.size() > 1) {
      c_ = learner.apply(learning::moved_control(clients_), inputs, "the server's control variate");
    }
  }

 private:
  static learning::Value nothing(const LocalInputs& inputs) {
    learning::Share none;
    none.head = false;
    return inputs.learner->apply(learning::only(none), {inputs.initial}, "control variates");
  }

  double clients_;                     // N
  learning::Value c_;                  // the server's
  std::vector<learning::Value> own_;   // c_i
  std::vector<learning::Value> sent_;  // c as each client was sent it with its last part
  // c_i before and after, of clients whose updates are not merged yet.
  std::map<int32_t, std::pair<learning::Value, learning::Value>> moved_;
};

}  // namespace

std::unique_ptr<Local> train_with_control_variates(const v1::Local& answer,
                                                   const LocalInputs& inputs) {
  return std::make_unique<ControlVariates>(answer, inputs);
}

}  // namespace fedclock::federation
