#include "sim/federation/aggregation/aggregation.h"

#include "models/common/error.h"

namespace fedclock::federation {

std::unique_ptr<Aggregation> make_aggregation(const v1::Aggregation& answer) {
  switch (answer.kind_case()) {
    case v1::Aggregation::kMean: return weighted_mean(answer.mean());
    case v1::Aggregation::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the aggregation open");
}

}  // namespace fedclock::federation
