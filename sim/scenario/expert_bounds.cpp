#include "sim/scenario/expert_bounds.h"

namespace fedclock::scenario {

ExpertBounds expert_bounds(const v1::ExpertAssignment& answer, int64_t clients) {
  if (!answer.homogeneous()) return {answer.choices(), answer.min_experts(), answer.max_experts()};
  const int64_t each = static_cast<int64_t>(answer.experts()) * answer.choices() / clients;
  return {answer.choices(), each, each};
}

bool can_match(int64_t experts, int64_t clients, const ExpertBounds& bounds) {
  const int64_t places = experts * bounds.choices;
  return bounds.choices >= 1 && bounds.choices <= clients && bounds.least <= experts &&
         bounds.least <= bounds.most && clients * bounds.least <= places &&
         places <= clients * bounds.most;
}

}  // namespace fedclock::scenario
