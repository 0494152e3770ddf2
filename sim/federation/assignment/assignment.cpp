#include "sim/federation/assignment/assignment.h"

#include <utility>

#include "models/common/error.h"

namespace fedclock::federation {

std::unique_ptr<Assignment> make_assignment(const v1::Assignment& answer, int64_t layers,
                                            std::vector<int64_t> most_layers) {
  switch (answer.kind_case()) {
    case v1::Assignment::kUniform:
      return assign_uniform(answer.uniform(), layers, std::move(most_layers));
    case v1::Assignment::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the assignment open");
}

}  // namespace fedclock::federation
