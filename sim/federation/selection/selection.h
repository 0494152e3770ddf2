// Who takes part in a round.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/scenario/scenario.pb.h"

namespace fedclock::federation {

class Selection {
 public:
  virtual ~Selection() = default;
  // Client numbers, ascending, without repetition, at least one.
  virtual std::vector<int32_t> choose(int64_t round) = 0;
};

// `clients`: how many there are. The answers live in files beside this one.
std::unique_ptr<Selection> make_selection(const v1::Selection& answer, int32_t clients,
                                          uint64_t seed);

std::unique_ptr<Selection> select_all(int32_t clients);
std::unique_ptr<Selection> select_random(const v1::SelectRandom& answer, int32_t clients,
                                         uint64_t seed);

}  // namespace fedclock::federation
