#include <algorithm>

#include "sim/federation/selection/selection.h"

namespace fedclock::federation {

namespace {

class All : public Selection {
 public:
  int32_t usual(int32_t clients) const override { return clients; }

  // The first ones, where fewer are asked for: schedules that fill places one by one ask so.
  std::vector<int32_t> choose(const Occasion&, const std::vector<int32_t>& candidates,
                              int32_t count) override {
    const size_t size = std::min(candidates.size(), static_cast<size_t>(count));
    return {candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(size)};
  }
};

}  // namespace

std::unique_ptr<Selection> select_all() { return std::make_unique<All>(); }

}  // namespace fedclock::federation
