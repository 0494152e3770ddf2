// What each client tunes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/scenario/scenario.pb.h"

namespace fedclock::federation {

// A client's share of the model in a round.
struct Plan {
  int64_t depth = 0;  // tuned layers of the learning model, counted from the output
  auto operator<=>(const Plan&) const = default;
};

class Assignment {
 public:
  virtual ~Assignment() = default;
  virtual Plan plan(int64_t round, int32_t client) = 0;
  // The deepest that any client will ever tune: the global state has adapters in so many layers.
  virtual int64_t deepest() const = 0;
  // Whether the client has a part at all: one whose memory is too small may be left out.
  virtual bool takes_part(int32_t client) const = 0;
};

// `layers`: of the learning model. `most_layers`: how many tuned layers each client's memory holds,
// -1 for not even the head; clients that it does not name hold all.
std::unique_ptr<Assignment> make_assignment(const v1::Assignment& answer, int64_t layers,
                                            std::vector<int64_t> most_layers = {});

std::unique_ptr<Assignment> assign_uniform(const v1::UniformAssignment& answer, int64_t layers,
                                           std::vector<int64_t> most_layers);

}  // namespace fedclock::federation
