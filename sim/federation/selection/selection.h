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
  // Some of the candidates: client numbers, ascending, without repetition, at least one where there
  // is any. Candidates are the clients that can take part now, ascending.
  virtual std::vector<int32_t> choose(int64_t round, const std::vector<int32_t>& candidates) = 0;
};

// `clients`: how many there are. The answers live in files beside this one.
std::unique_ptr<Selection> make_selection(const v1::Selection& answer, int32_t clients,
                                          uint64_t seed);

std::unique_ptr<Selection> select_all();
std::unique_ptr<Selection> select_random(const v1::SelectRandom& answer, int32_t clients,
                                         uint64_t seed);

}  // namespace fedclock::federation
