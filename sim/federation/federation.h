// A federated job as it runs: its clients, its five answers, and what they share.
//
// The schedule (when) drives everything: it asks the selection who takes part, the assignment what
// each one tunes, the local answer how it trains, moves the bytes over the platform, and hands the
// updates to the aggregation. All of it is about work and dates; numbers are the learner's, and
// only a stop at a target accuracy waits for one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/learning/learner.h"
#include "sim/federation/aggregation/aggregation.h"
#include "sim/federation/assignment/assignment.h"
#include "sim/federation/local/local.h"
#include "sim/federation/selection/selection.h"
#include "sim/federation/workload.h"
#include "sim/kernel/simulation.h"
#include "sim/kernel/task.h"
#include "sim/platform/platform.h"
#include "sim/results/recorder.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::federation {

// A device with its rows. Clients are numbered from 0 in the platform's order.
struct Client {
  std::string device;  // name of the profile
  // In each of the power modes that it runs in; one where they do not change.
  std::shared_ptr<const std::vector<cost::Machine>> machines;
  learning::Rows train_rows;        // numbers of rows in the training set
  learning::Rows test_rows;         // its own, held out; may be empty
  learning::Rows auxiliary_rows;    // set aside, not trained on; may be empty
  std::vector<int32_t> class_rows;  // training rows of each class; may be empty
  // Of a step of everything that anyone tunes, in its first power mode; and of a round of it with
  // its transfers, at the bandwidth that its link has at first.
  double full_depth_step_s = 0, expected_round_s = 0;
};

struct Answers {
  std::unique_ptr<Selection> selection;
  std::unique_ptr<Assignment> assignment;
  std::unique_ptr<Local> local;
  std::unique_ptr<Aggregation> aggregation;
  ServerOptimizer server_optimizer;
};

// One run. Everything it refers to outlives it.
struct Federation {
  const v1::Scenario& scenario;
  const std::vector<Client>& clients;
  const cost::Machine* server;  // nullptr: the platform has none
  // Of each gateway; nullptr for one that computes nothing.
  const std::vector<std::unique_ptr<cost::Machine>>& gateways;
  Answers answers;
  const Workload& workload;
  kernel::Simulation& simulation;
  platform::Platform& platform;
  learning::Learner& learner;
  results::Recorder& recorder;

  // The state that everyone starts from.
  learning::Value initial_state() const;
  const learning::Share& initial_share;

  // The clients that have a part: all but those that the assignment leaves out.
  std::vector<int32_t> participants() const;
  // Waits until a round can begin, with so many of these clients reachable, and begins it; they are
  // told by `reachable`. False, with the reason recorded, when none does any more.
  kernel::Task<bool> begins_round(int64_t round, const std::vector<int32_t>& participants,
                                  int32_t least, std::vector<int32_t>& reachable);
  // The same for rounds that need no client, and so no wait.
  bool begins_round(int64_t round);

  // The selection's own number of these clients, or `count` of them.
  std::vector<int32_t> choose(const Occasion& occasion, const std::vector<int32_t>& candidates,
                              std::optional<int32_t> count = {});

  // A global merge: the next global state, at least one update.
  learning::Value merge(const Occasion& occasion, const learning::Value& global,
                        const std::vector<Update>& updates, const std::vector<int32_t>& clients);

  // Records the end of a round and measures the global state where the scenario says so; or, where
  // every client has a model of its own, these: accuracies are means over clients.
  void end_round(int64_t round, const learning::Value& global);
  void end_round_of_many(int64_t round, const std::vector<learning::Value>& states);
  // After the last round: measures it, whether or not it was due.
  void measure_last();

  // A client's model as its local training left it, for those who measure that.
  void keep_trained(int32_t client, const learning::Value& update);

  std::string stop_reason;
  std::vector<learning::Value> last_states;       // one, or one of each client
  std::vector<learning::Value> trained_states{};  // of each client; empty until it has trained

 private:
  bool measures_own_models() const;
  bool measures_after_training() const;
  learning::Value model_of(int64_t round, int32_t client, const learning::Value& global);
  bool is_over(int64_t round);
  void begin(int64_t round);
  double earliest_start_s(const std::vector<int32_t>& participants, size_t least) const;
  void settle_clients(results::RoundRecord& record);
  void measure(int64_t round);
  void measure_clients(int64_t round);
};

// Whether `every` asks for a measurement in this round (0: the last round only, which the end of
// the run measures).
bool is_due(int64_t round, int32_t every);

}  // namespace fedclock::federation
