#include "models/common/random.h"

#include <algorithm>

#include "sim/federation/selection/selection.h"

namespace fedclock::federation {

namespace {

class UniformRandom : public Selection {
 public:
  UniformRandom(int32_t chosen, uint64_t seed) : chosen_(chosen), seed_(seed) {}

  int32_t usual(int32_t clients) const override { return std::min(chosen_, clients); }

  std::vector<int32_t> choose(const Occasion& occasion, const std::vector<int32_t>& candidates,
                              int32_t count) override {
    Random random(seed_, "selection", static_cast<uint64_t>(occasion.round), occasion.key());
    return sample(random, candidates, count);
  }

 private:
  int32_t chosen_;
  uint64_t seed_;
};

}  // namespace

// Floyd's sampling: m distinct numbers out of n with m draws (Bentley and Floyd, CACM 1987), so
// that a round costs what it selects, not what there is.
std::vector<int32_t> sample(Random& random, const std::vector<int32_t>& candidates, int32_t count) {
  const auto size = static_cast<int32_t>(candidates.size());
  std::vector<int32_t> sample;  // places among the candidates, ascending
  for (int32_t last = size - std::min(count, size); last < size; ++last) {
    auto drawn = static_cast<int32_t>(random.below(static_cast<uint64_t>(last) + 1));
    auto place = std::lower_bound(sample.begin(), sample.end(), drawn);
    if (place != sample.end() && *place == drawn) {
      drawn = last;
      place = sample.end();
    }
    sample.insert(place, drawn);
  }
  for (int32_t& place : sample) place = candidates[static_cast<size_t>(place)];
  return sample;
}

std::unique_ptr<Selection> select_random(int32_t chosen, uint64_t seed) {
  return std::make_unique<UniformRandom>(chosen, seed);
}

}  // namespace fedclock::federation
