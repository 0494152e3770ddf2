// How updates are merged.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/learning/learner.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::federation {

// What came back from a client.
struct Update {
  int32_t client = 0;
  int64_t rows = 0;  // training rows of the client
  learning::Value state;
};

class Aggregation {
 public:
  virtual ~Aggregation() = default;
  // The new global state from the old one and the updates, in client order; at least one.
  virtual learning::Value merge(learning::Learner& learner, const learning::Value& global,
                                const std::vector<Update>& updates) = 0;
};

std::unique_ptr<Aggregation> make_aggregation(const v1::Aggregation& answer);

std::unique_ptr<Aggregation> weighted_mean(const v1::MeanAggregation& answer);

}  // namespace fedclock::federation
