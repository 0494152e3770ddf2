// How each client trains.
#pragma once

#include <cstdint>
#include <memory>

#include "models/learning/learner.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::federation {

struct Client;
struct Plan;

class Local {
 public:
  virtual ~Local() = default;
  // What a client computes in a round, from the state that it was sent.
  virtual learning::TrainJob job(int64_t round, int32_t client, const Client& who,
                                 const Plan& plan) const = 0;
};

std::unique_ptr<Local> make_local(const v1::Local& answer, uint64_t seed);

std::unique_ptr<Local> train_plainly(const v1::Local& answer, uint64_t seed);

// Steps, batches and optimiser as the scenario gives them.
learning::TrainSettings train_settings(const v1::Local& answer);

}  // namespace fedclock::federation
