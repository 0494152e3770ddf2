#include "sim/federation/assignment/assignment.h"

namespace fedclock::federation {

namespace {

class Uniform : public Assignment {
 public:
  Uniform(const v1::UniformAssignment& answer, const AssignmentInputs& inputs)
      : depth_(answer.has_depth() ? answer.depth() : inputs.layers),
        shrinks_(answer.when_too_large() == v1::UniformAssignment::SHRINK_DEPTH),
        most_layers_(inputs.most_layers),
        ranks_(static_cast<size_t>(inputs.layers),
               answer.has_rank() ? answer.rank() : inputs.rank) {}

  Plan plan(const Occasion&, int32_t client) override {
    return {last_of(ranks_, held_by_memory(most_layers_, client, depth_)), last_of(ranks_, depth_)};
  }
  bool takes_part(int32_t client) const override {
    return held_by_memory(most_layers_, client, depth_) >= (shrinks_ ? 0 : depth_);
  }

 private:
  int64_t depth_;
  bool shrinks_;
  std::vector<int64_t> most_layers_;
  std::vector<int64_t> ranks_;
};

}  // namespace

std::unique_ptr<Assignment> assign_uniform(const v1::UniformAssignment& answer,
                                           AssignmentInputs inputs) {
  return std::make_unique<Uniform>(answer, inputs);
}

}  // namespace fedclock::federation
