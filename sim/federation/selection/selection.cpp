#include "sim/federation/selection/selection.h"

#include "models/common/error.h"

namespace fedclock::federation {

std::unique_ptr<Selection> make_selection(const v1::Selection& answer, int32_t clients,
                                          uint64_t seed) {
  switch (answer.kind_case()) {
    case v1::Selection::kAll: return select_all();
    case v1::Selection::kRandom: return select_random(answer.random(), clients, seed);
    case v1::Selection::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the selection open");
}

}  // namespace fedclock::federation
