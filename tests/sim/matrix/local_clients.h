// Clients of a local answer whose learner is hand arithmetic: A is 1, B 2 and the head 3 in the
// beginning, and training adds 1 to what it trains, or what a test says. Include after
// models/nn/torch.h and Catch2.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "sim/federation/federation.h"
#include "tests/sim/federation/recording_learner.h"

namespace fedclock::federation {

using test::Flat;
using test::RecordingLearner;

inline learning::Rows rows_of(int32_t count, int32_t first = 0) {
  std::vector<int32_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), first);
  return std::make_shared<const std::vector<int32_t>>(std::move(rows));
}

// Two epochs of batches of 4 rows: 4 steps of rate 0.125 in round 1, of half of that in round 2,
// and so on.
inline v1::Local answer_of(v1::Local answer = {}) {
  answer.set_epochs(2);
  answer.set_batch_size(4);
  answer.set_optimizer(v1::SGD);
  answer.set_learning_rate(0.125);
  answer.set_learning_rate_decay(0.5);
  return answer;
}

// An answer for clients of 8 rows each and adapters of rank 4 in two layers.
class Clients {
 public:
  explicit Clients(const v1::Local& answer, int64_t clients = 3, int64_t participants = 3,
                   int64_t rank = 4, bool by_rows = false) {
    who_.train_rows = rows_of(8);
    initial_ = learner.initial({{rank, rank}}, 1);
    LocalInputs inputs{.seed = 17,
                       .clients = clients,
                       .participants = participants,
                       .initial = initial_,
                       .learner = &learner,
                       .rows = {},
                       .targets = {nn::Target::kQ},
                       .mean_by_rows = by_rows};
    for (int32_t client = 0; client < clients; ++client) {
      inputs.rows.push_back(rows_of(by_rows ? 8 * (client + 1) : 8, 10 * client));
    }
    local = make_local(answer_of(answer), inputs);
  }

  void set_auxiliary_rows(const learning::Rows& rows) { who_.auxiliary_rows = rows; }

  Part part(int64_t round, int32_t client, const Plan& plan = {{4, 4}, {4, 4}},
            int64_t number = 0) {
    return local->part({round, number}, client, who_, plan);
  }
  Local::Trained train(const Part& part, const learning::Value& global) {
    return local->train(learner, part, global);
  }
  Local::Trained train(const Part& part) { return train(part, initial_); }
  Flat model_of(int32_t client, const Flat& global) {
    return flat(local->model_of(learner, client, RecordingLearner::state_of(global)));
  }
  static Flat flat(const learning::Value& state) { return RecordingLearner::flat(state); }
  const learning::Value& initial() const { return initial_; }

  RecordingLearner learner;
  std::unique_ptr<Local> local;

 private:
  Client who_;
  learning::Value initial_;
};

// All tensors of two layers with these numbers.
inline Flat all(double a, double b, double head) {
  return {{"0a", a}, {"0b", b}, {"1a", a}, {"1b", b}, {"head", head}};
}
inline Flat all(double number) { return all(number, number, number); }

// a, b and head of a share.
inline std::string factors(const learning::Share& share) {
  return std::string(share.a ? "a" : "") + (share.b ? "b" : "") + (share.head ? "h" : "");
}

}  // namespace fedclock::federation
