#include <numeric>

#include "sim/federation/selection/selection.h"

namespace fedclock::federation {

namespace {

class All : public Selection {
 public:
  explicit All(int32_t clients) : everyone_(clients) {
    std::iota(everyone_.begin(), everyone_.end(), 0);
  }
  std::vector<int32_t> choose(int64_t) override { return everyone_; }

 private:
  std::vector<int32_t> everyone_;
};

}  // namespace

std::unique_ptr<Selection> select_all(int32_t clients) { return std::make_unique<All>(clients); }

}  // namespace fedclock::federation
