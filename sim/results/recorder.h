// Collects what happens in a run, and turns it into a Result once the numbers are known.
//
// Dates are written down while the clock runs; accuracies and losses are promises of the learner,
// looked up in the order of the rounds, so that a person can follow them.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "models/learning/learner.h"
#include "sim/results/result.pb.h"

namespace fedclock::results {

// What was spent on something, in seconds of devices, bytes and joules.
struct Spent {
  double seconds = 0;
  int64_t bytes = 0;
  double joules = 0;
};

struct ClientRecord {
  int32_t client = 0;
  int64_t depth = 0;
  int64_t rank = 0;       // the largest of a tuned layer
  int64_t experts = 0;    // that it holds, over all modules
  int64_t rows = 0;       // training rows
  int32_t group = -1;     // of a hierarchical schedule; or its cluster
  int32_t parts = 1;      // rounds of its group that it took part in
  int64_t staleness = 0;  // merges since its part began
  bool goes_on = false;   // to its next part, and does not wait for the round's end
  double start_s = 0;     // date at which its part began
  double end_s = 0;       // date at which it was done, or given up
  Spent download, train, upload;
  // What of these was for nothing: what broke off, and of a dropped client everything.
  double lost_s = 0;
  int64_t lost_bytes_up = 0, lost_bytes_down = 0;
  bool dropped = false;    // nothing of its part was merged
  double off_s = 0;        // until it left, that its device was off
  double idle_joules = 0;  // until it left, while it was on and did nothing
  // Numbers of its trainings, one for each part that was not lost.
  std::vector<learning::Value> updates;

  // Date at which it leaves the round: one that is given up does so at once.
  double left_s(double round_end_s) const { return dropped || goes_on ? end_s : round_end_s; }
  // Takes on a later part of the same client in the same round.
  void add(const ClientRecord& part);
};

// What a group did in a global round.
struct GroupRecord {
  int32_t group = 0;
  int64_t depth = 0;
  int32_t frequency = 0;
  double end_s = 0;                      // date at which the server had what it sends
  int64_t bytes_up = 0, bytes_down = 0;  // between its aggregator and the server
};

struct RoundRecord {
  int64_t round = 0;
  double start_s = 0, end_s = 0, merge_s = 0;
  double server_train_s = 0;                        // of centralised training
  std::deque<ClientRecord> clients;                 // addresses stay valid while clients are added
  std::vector<GroupRecord> groups;                  // of a hierarchical schedule
  std::vector<learning::Value> evaluations;         // of the model or models, on the test rows
  std::vector<learning::Value> client_evaluations;  // of each client, on its own test rows
  std::vector<int32_t> evaluated_clients;           // whose those are
  learning::Value central_update;                   // of centralised training
};

// One phase, or one attempt at it.
struct Event {
  v1::Event::Phase phase = v1::Event::DOWNLOAD;
  int32_t client = -1;  // -1: the server; -2, -3, ...: gateways 0, 1, ...
  int64_t round = 0;
  double start_s = 0, end_s = 0;
  int64_t bytes = 0;  // that travelled
  v1::Event::End end = v1::Event::DONE;
};

class Recorder {
 public:
  // Told of each round in order, once its numbers are known.
  using Observer = std::function<void(const v1::Round&)>;

  Recorder(learning::Learner& learner, Observer observer)
      : learner_(learner), observer_(std::move(observer)) {}

  // Waits where the learning is many rounds behind.
  RoundRecord& begin_round(int64_t round, double now_s);
  RoundRecord& round(int64_t round);
  // A record for a client that takes part in the round, once for each; the reference stays valid
  // until the round is resolved.
  ClientRecord& add_client(int64_t round, int32_t client);
  // A part that is known whole.
  void add_client(int64_t round, const ClientRecord& record);
  // Phases in the order in which they end.
  void add_event(const Event& event);
  int64_t last_round() const { return static_cast<int64_t>(rounds_.size()) - 1; }

  // Waits for the numbers of all rounds up to this one and tells the observer.
  const v1::Round& resolve(int64_t round);
  // Accuracy of the last round, which may not be resolved yet, and those before it are by then;
  // NaN where it was not measured. Waits.
  double measured_accuracy(int64_t last_round);
  // All rounds, resolved, and the events.
  void add_to(v1::Result& result);

 private:
  v1::Round resolved(const RoundRecord& record);
  void set_own_accuracies(const RoundRecord& record, v1::Round& round);
  // Means over the models that were measured.
  learning::Metrics mean_metrics(const std::vector<learning::Value>& evaluations);

  learning::Learner& learner_;
  Observer observer_;
  std::deque<RoundRecord> rounds_;  // by round number, from 0
  std::deque<v1::Round> resolved_;  // the first of them
  v1::Events events_;
};

}  // namespace fedclock::results
