#include "sim/federation/assignment/assignment.h"

namespace fedclock::federation {

namespace {

class Uniform : public Assignment {
 public:
  explicit Uniform(int64_t depth) : depth_(depth) {}
  Plan plan(int64_t, int32_t) override { return {depth_}; }
  int64_t deepest() const override { return depth_; }

 private:
  int64_t depth_;
};

}  // namespace

std::unique_ptr<Assignment> assign_uniform(const v1::UniformAssignment& answer, int64_t layers) {
  return std::make_unique<Uniform>(answer.has_depth() ? answer.depth() : layers);
}

}  // namespace fedclock::federation
