// How each client trains: what it receives, what it does with it, what it sends and what it keeps.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/cost/work.h"
#include "models/learning/learner.h"
#include "sim/federation/occasion.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::federation {

struct Client;
struct Plan;
struct Update;
class Workload;

// A client's part in a round, before it runs.
struct Part {
  Occasion occasion;
  int32_t client = 0;
  learning::Share held;      // that it computes with
  learning::Share down, up;  // that travel
  int64_t copies = 1;        // of each, as control variates travel beside
  learning::TrainJob job;
  learning::Rows embedded_rows;  // whose mean embeddings are sent too; none: empty
  int64_t passed_rows = 0;       // that go forward on the device besides
  int32_t cluster = -1;          // of clients that share something; -1: none

  std::string name() const;  // "round 3, client 7"
};

class Local {
 public:
  virtual ~Local() = default;

  virtual Part part(const Occasion& occasion, int32_t client, const Client& who,
                    const Plan& plan) = 0;
  // The part for real, from the global state; in the order in which updates arrive.
  struct Trained {
    learning::Value update;  // with the numbers of the training
    learning::Value sent;    // the tensors of part.up
  };
  virtual Trained train(learning::Learner& learner, const Part& part,
                        const learning::Value& global) = 0;
  // What a whole global state is, on its way to those who have the one before; and how many states
  // travel, down and up.
  virtual learning::Share whole(int64_t round, const learning::Share& global) const = 0;
  virtual int64_t copies() const = 0;
  // The server has merged what these clients sent; and what it does for this answer besides.
  virtual void merged(learning::Learner&, const std::vector<int32_t>&) {}
  virtual cost::Work merge_work(const Workload&, const std::vector<Update>&) const { return {}; }

  // What the run leaves as its adapter: the global state, or what stands for it.
  virtual learning::Value left_behind(learning::Learner&, const learning::Value& global) {
    return global;
  }
  // The model that a client uses; where it is not the global one, accuracies are means over
  // clients.
  virtual bool is_personal() const { return false; }
  virtual learning::Value model_of(learning::Learner&, int32_t, const learning::Value& global) {
    return global;
  }
};

struct LocalInputs {
  uint64_t seed = 0;
  int64_t clients = 0;
  int64_t participants = 0;              // of them, that have a part at all
  learning::Value initial;               // the state that everyone starts from
  learning::Learner* learner = nullptr;  // for answers that look at numbers
  std::vector<learning::Rows> rows;      // of each client
  std::vector<nn::Target> targets;       // of the adapters
  bool mean_by_rows = false;             // whether the server weighs updates so
};
std::unique_ptr<Local> make_local(const v1::Local& answer, LocalInputs inputs);

// What of a share travels: FFA-LoRA's B, FedSA-LoRA's A, the adapters of FedALT and FedLEASE
// without the head; RoLoRA's rounds narrow it further. And how many states do: SCAFFOLD's control
// variates are another one.
learning::Share travelling(const v1::Local& answer, learning::Share share);
// The first so many experts of each map in layers that have a rank.
nn::ModuleExperts mixtures_of(const std::vector<int64_t>& ranks,
                              const std::vector<nn::Target>& targets, int64_t experts);
// What a client trains where an assignment gives it this share: of FedALT and FedLEASE an expert in
// the place of each adapter, with a router, beside one that is frozen, or as many as there may be
// with so many clients.
learning::Share trained_share(const v1::Local& answer, learning::Share share,
                              const std::vector<nn::Target>& targets, int64_t clients);
int64_t copies_of(const v1::Local& answer);
// That a client trains side by side: FedAPEN's two.
int64_t models_of(const v1::Local& answer);

// What the answers have in common: the job as the scenario gives it, what travels of all that is
// held goes down, of all that is tuned up, and nothing is kept.
class PlainTraining : public Local {
 public:
  PlainTraining(const v1::Local& answer, uint64_t seed);
  learning::Share whole(int64_t round, const learning::Share& global) const override;
  int64_t copies() const override;
  Part part(const Occasion& occasion, int32_t client, const Client& who, const Plan& plan) override;
  Trained train(learning::Learner& learner, const Part& part,
                const learning::Value& global) override;

 protected:
  // What it has been sent, as far as its share goes.
  static learning::Value received(learning::Learner& learner, const Part& part,
                                  const learning::Value& global);
  static learning::Value sent(learning::Learner& learner, const Part& part,
                              const learning::Value& update);

 private:
  v1::Local answer_;
  uint64_t seed_;
};

std::unique_ptr<Local> train_with_proximal_term(const v1::Local& answer, const LocalInputs& inputs);
std::unique_ptr<Local> train_with_control_variates(const v1::Local& answer,
                                                   const LocalInputs& inputs);
std::unique_ptr<Local> train_with_frozen_a(const v1::Local& answer, const LocalInputs& inputs);
std::unique_ptr<Local> train_alternating(const v1::Local& answer, const LocalInputs& inputs);
std::unique_ptr<Local> train_sharing_a(const v1::Local& answer, const LocalInputs& inputs);
std::unique_ptr<Local> train_private_beside_shared(const v1::Local& answer,
                                                   const LocalInputs& inputs);
std::unique_ptr<Local> train_beside_rest_of_world(const v1::Local& answer,
                                                  const LocalInputs& inputs);
std::unique_ptr<Local> train_in_clusters(const v1::Local& answer, const LocalInputs& inputs);
std::unique_ptr<Local> train_mutually(const v1::Local& answer, const LocalInputs& inputs);
std::unique_ptr<Local> train_with_self_pruning(const v1::Local& answer, const LocalInputs& inputs);

// Steps, batches and optimiser as the scenario gives them.
learning::TrainSettings train_settings(const v1::Local& answer);

}  // namespace fedclock::federation
