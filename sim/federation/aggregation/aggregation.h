// How updates are merged, and what the server makes of the result.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/cost/cost.h"
#include "models/learning/learner.h"
#include "sim/federation/occasion.h"
#include "sim/federation/workload.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::federation {

// What came back from a client, or from a group.
struct Update {
  int32_t client = 0;  // or the group's number
  int64_t rows = 0;    // training rows behind it
  learning::Value state;
  learning::Share share;  // what `state` has
};

class Aggregation {
 public:
  virtual ~Aggregation() = default;
  // The new global state from the old one and the updates, in client order; at least one.
  virtual learning::Value merge(learning::Learner& learner, const Occasion& occasion,
                                const learning::Value& global,
                                const std::vector<Update>& updates) = 0;
  // Of that, on whatever merges.
  virtual cost::Work work(const Workload& workload, const std::vector<Update>& updates) const;

  // Bytes that a client is now sent, before it can begin its part with this share.
  virtual int64_t begin_download(const Workload& workload, int32_t client,
                                 const learning::Share& share);
  // They have arrived there.
  virtual void received(int32_t) {}
  // What the client does with it before it trains, flops.
  virtual double unpacking_flops(const Workload&, int32_t) { return 0; }

 protected:
  // A function of these states and the updates'.
  static learning::Value apply(learning::Learner& learner, const learning::Function& function,
                               const Occasion& occasion, std::vector<learning::Value> first,
                               const std::vector<Update>& updates);
};

struct AggregationInputs {
  uint64_t seed = 0;
  int64_t clients = 0;
  std::vector<int64_t> global_ranks;  // of the state that everyone starts from
};
std::unique_ptr<Aggregation> make_aggregation(const v1::Aggregation& answer,
                                              AggregationInputs inputs);

std::unique_ptr<Aggregation> weighted_mean(const v1::MeanAggregation& answer);
std::unique_ptr<Aggregation> padded_with_zeros();
std::unique_ptr<Aggregation> taken_apart_by_svd();
std::unique_ptr<Aggregation> stacked_into_base(AggregationInputs inputs);

// Weights of updates.
std::vector<double> rows_of(const std::vector<Update>& updates);

// The step that makes the next global state of the merged one, with its moments.
class ServerOptimizer {
 public:
  // Without a kind, the merged state is the next one.
  explicit ServerOptimizer(const v1::ServerOptimizer& answer);
  learning::Value step(learning::Learner& learner, const Occasion& occasion,
                       const learning::Value& global, const learning::Value& merged);

 private:
  bool exists_;
  learning::ServerOptimizerSettings settings_;
  learning::Value moments_;
};

}  // namespace fedclock::federation
