#include "sim/federation/selection/selection.h"

namespace fedclock::federation {

namespace {

class All : public Selection {
 public:
  std::vector<int32_t> choose(int64_t, const std::vector<int32_t>& candidates) override {
    return candidates;
  }
};

}  // namespace

std::unique_ptr<Selection> select_all() { return std::make_unique<All>(); }

}  // namespace fedclock::federation
