#include <algorithm>
#include <utility>

#include "sim/federation/assignment/assignment.h"

namespace fedclock::federation {

namespace {

class Uniform : public Assignment {
 public:
  Uniform(int64_t depth, bool shrinks, std::vector<int64_t> most_layers)
      : depth_(depth), shrinks_(shrinks), most_layers_(std::move(most_layers)) {}

  Plan plan(int64_t, int32_t client) override { return {std::min(depth_, held_by(client))}; }
  int64_t deepest() const override { return depth_; }
  bool takes_part(int32_t client) const override {
    return held_by(client) >= (shrinks_ ? 0 : depth_);
  }

 private:
  int64_t held_by(int32_t client) const {
    const auto place = static_cast<size_t>(client);
    return place < most_layers_.size() ? most_layers_[place] : depth_;
  }

  int64_t depth_;
  bool shrinks_;
  std::vector<int64_t> most_layers_;
};

}  // namespace

std::unique_ptr<Assignment> assign_uniform(const v1::UniformAssignment& answer, int64_t layers,
                                           std::vector<int64_t> most_layers) {
  const bool shrinks = answer.when_too_large() == v1::UniformAssignment::SHRINK_DEPTH;
  return std::make_unique<Uniform>(answer.has_depth() ? answer.depth() : layers, shrinks,
                                   std::move(most_layers));
}

}  // namespace fedclock::federation
