#include <algorithm>
#include <cmath>

#include "models/common/random.h"
#include "sim/federation/selection/selection.h"

namespace fedclock::federation {

namespace {

// Floyd's sampling: m distinct numbers out of n with m draws (Bentley and Floyd, CACM 1987), so
// that a round costs what it selects, not what there is.
class UniformRandom : public Selection {
 public:
  UniformRandom(int32_t chosen, uint64_t seed) : chosen_(chosen), seed_(seed) {}

  std::vector<int32_t> choose(int64_t round, const std::vector<int32_t>& candidates) override {
    Random random(seed_, "selection", static_cast<uint64_t>(round));
    const auto clients = static_cast<int32_t>(candidates.size());
    std::vector<int32_t> sample;  // places among the candidates, ascending
    for (int32_t last = clients - std::min(chosen_, clients); last < clients; ++last) {
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

 private:
  int32_t chosen_;
  uint64_t seed_;
};

}  // namespace

std::unique_ptr<Selection> select_random(const v1::SelectRandom& answer, int32_t clients,
                                         uint64_t seed) {
  int32_t chosen = answer.count();
  if (answer.has_fraction()) {
    // Rounded up, but 0.1 x 30 is 3, whatever binary fractions say.
    chosen = static_cast<int32_t>(std::ceil(answer.fraction() * clients - 1e-9));
  }
  return std::make_unique<UniformRandom>(std::clamp(chosen, 1, clients), seed);
}

}  // namespace fedclock::federation
