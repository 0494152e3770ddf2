#include "sim/federation/assignment/assignment.h"

namespace fedclock::federation {

namespace {

class Capacity : public Assignment {
 public:
  Capacity(const v1::CapacityAssignment& answer, const AssignmentInputs& inputs)
      : whole_(answer.whole_download()), most_layers_(inputs.most_layers) {
    v1::Assignment self;
    *self.mutable_capacity() = answer;
    all_ = global_ranks(self, inputs.layers, inputs.rank);
    const auto clients = inputs.full_depth_step_s.size();
    depths_.assign(clients, learning::Share{all_}.depth());
    ranks_.assign(clients, 0);
    if (!answer.depth_shares().empty()) {
      const auto levels = levels_by_capacity(inputs.full_depth_step_s,
                                             static_cast<size_t>(answer.depth_shares_size()));
      for (size_t i = 0; i < clients; ++i) {
        depths_[i] = layers_of(answer.depth_shares(static_cast<int>(levels[i])), inputs.layers);
      }
    }
    if (answer.ranks().empty()) return;
    const auto levels =
        levels_by_capacity(inputs.full_depth_step_s, static_cast<size_t>(answer.ranks_size()));
    for (size_t i = 0; i < clients; ++i) ranks_[i] = answer.ranks(static_cast<int>(levels[i]));
  }

  Plan plan(const Occasion&, int32_t client) override {
    const auto place = static_cast<size_t>(client);
    std::vector<int64_t> own = all_;
    for (int64_t& rank : own) {
      if (ranks_[place] > 0 && rank > 0) rank = ranks_[place];
    }
    const std::vector<int64_t> tuned =
        last_of(own, held_by_memory(most_layers_, client, depths_[place]));
    return {tuned, whole_ ? own : tuned};
  }
  bool takes_part(int32_t client) const override {
    return held_by_memory(most_layers_, client, depths_[static_cast<size_t>(client)]) >= 1;
  }

 private:
  bool whole_;
  std::vector<int64_t> most_layers_;
  std::vector<int64_t> all_;             // ranks of the layers, of the highest level
  std::vector<int64_t> depths_, ranks_;  // of the clients; rank 0: the layers' own
};

}  // namespace

std::unique_ptr<Assignment> assign_by_capacity(const v1::CapacityAssignment& answer,
                                               AssignmentInputs inputs) {
  return std::make_unique<Capacity>(answer, inputs);
}

}  // namespace fedclock::federation
