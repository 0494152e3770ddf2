// Who takes part in a round.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/common/random.h"
#include "models/learning/learner.h"
#include "sim/federation/occasion.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::federation {

// What the server sees of a client's part that has arrived.
struct Seen {
  int32_t client = 0;
  int64_t round = 0;
  int64_t rows = 0;
  double seconds = 0;      // from its start to its arrival
  learning::Value update;  // for its numbers
};

class Selection {
 public:
  virtual ~Selection() = default;
  // How many of so many clients it takes by itself.
  virtual int32_t usual(int32_t clients) const = 0;
  // `count` of the candidates, or all where there are fewer: client numbers, ascending, without
  // repetition. Candidates are the clients that can take part now, ascending.
  virtual std::vector<int32_t> choose(const Occasion& occasion,
                                      const std::vector<int32_t>& candidates, int32_t count) = 0;
  virtual void observe(const Seen&) {}
};

// `clients`: how many there are. The answers live in files beside this one. The learner outlives
// it.
std::unique_ptr<Selection> make_selection(const v1::Selection& answer, int32_t clients,
                                          uint64_t seed, learning::Learner& learner);

std::unique_ptr<Selection> select_all();
std::unique_ptr<Selection> select_random(int32_t chosen, uint64_t seed);
std::unique_ptr<Selection> select_oort(const v1::SelectOort& answer, int32_t chosen, uint64_t seed,
                                       learning::Learner& learner);

// `count` distinct ones of the candidates, or all, uniformly, ascending.
std::vector<int32_t> sample(Random& random, const std::vector<int32_t>& candidates, int32_t count);

}  // namespace fedclock::federation
