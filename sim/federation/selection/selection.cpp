#include "sim/federation/selection/selection.h"

#include <algorithm>
#include <cmath>

#include "models/common/error.h"

namespace fedclock::federation {

namespace {

template <class Answer>
int32_t chosen_of(const Answer& answer, int32_t clients) {
  int32_t chosen = answer.count();
  if (answer.has_fraction()) {
    // Rounded up, but 0.1 x 30 is 3, whatever binary fractions say.
    chosen = static_cast<int32_t>(std::ceil(answer.fraction() * clients - 1e-9));
  }
  return std::clamp(chosen, 1, clients);
}

}  // namespace

std::unique_ptr<Selection> make_selection(const v1::Selection& answer, int32_t clients,
                                          uint64_t seed, learning::Learner& learner) {
  switch (answer.kind_case()) {
    case v1::Selection::kAll: return select_all();
    case v1::Selection::kRandom: return select_random(chosen_of(answer.random(), clients), seed);
    case v1::Selection::kOort:
      return select_oort(answer.oort(), chosen_of(answer.oort(), clients), seed, learner);
    case v1::Selection::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the selection open");
}

}  // namespace fedclock::federation
