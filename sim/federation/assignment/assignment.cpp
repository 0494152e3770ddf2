#include "sim/federation/assignment/assignment.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/common/error.h"

namespace fedclock::federation {

int64_t Plan::rank() const {
  return tuned.empty() ? 0 : *std::max_element(tuned.begin(), tuned.end());
}

int64_t Plan::expert_count() const {
  int64_t count = 0;
  for (const auto& [module, own] : experts) count += std::ssize(own);
  return count;
}

std::unique_ptr<Assignment> make_assignment(const v1::Assignment& answer, AssignmentInputs inputs) {
  switch (answer.kind_case()) {
    case v1::Assignment::kUniform: return assign_uniform(answer.uniform(), std::move(inputs));
    case v1::Assignment::kCapacity: return assign_by_capacity(answer.capacity(), std::move(inputs));
    case v1::Assignment::kFisher: return assign_by_fisher(answer.fisher(), std::move(inputs));
    case v1::Assignment::kJoint: return assign_jointly(answer.joint(), std::move(inputs));
    case v1::Assignment::kExperts: return assign_experts(answer.experts(), std::move(inputs));
    case v1::Assignment::kPrompt: {
      v1::UniformAssignment no_layers;  // the prompt goes with the head
      no_layers.set_depth(0);
      return assign_uniform(no_layers, std::move(inputs));
    }
    case v1::Assignment::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the assignment open");
}

namespace {

std::vector<int64_t> ranks_by_capacity(const v1::CapacityAssignment& answer, int64_t layers,
                                       int64_t rank) {
  if (!answer.ranks().empty()) rank = *std::ranges::max_element(answer.ranks());
  std::vector<int64_t> ranks(static_cast<size_t>(layers), rank);
  if (answer.has_lowest_rank()) {
    const double lowest = answer.lowest_rank(), highest = answer.highest_rank();
    const double steps = static_cast<double>(std::max<int64_t>(1, layers - 1));
    for (int64_t layer = 0; layer < layers; ++layer) {
      ranks[static_cast<size_t>(layer)] =
          std::lround(lowest + (highest - lowest) * static_cast<double>(layer) / steps);
    }
  }
  double share = answer.depth_shares().empty() ? 1 : 0;
  for (const double level : answer.depth_shares()) share = std::max(share, level);
  return last_of(ranks, layers_of(share, layers));
}

}  // namespace

std::vector<int64_t> global_ranks(const v1::Assignment& answer, int64_t layers, int64_t rank) {
  std::vector<int64_t> ranks(static_cast<size_t>(layers), rank);
  switch (answer.kind_case()) {
    case v1::Assignment::kUniform: {
      const v1::UniformAssignment& uniform = answer.uniform();
      if (uniform.has_rank()) std::fill(ranks.begin(), ranks.end(), uniform.rank());
      return last_of(ranks, uniform.has_depth() ? uniform.depth() : layers);
    }
    case v1::Assignment::kCapacity: return ranks_by_capacity(answer.capacity(), layers, rank);
    case v1::Assignment::kJoint:
      if (answer.joint().has_fixed_depth()) return last_of(ranks, answer.joint().fixed_depth());
      return ranks;
    case v1::Assignment::kFisher:
    case v1::Assignment::kExperts: return ranks;
    case v1::Assignment::kPrompt: return last_of(ranks, 0);
    case v1::Assignment::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the assignment open");
}

std::vector<size_t> levels_by_capacity(const std::vector<double>& step_s, size_t levels) {
  std::vector<double> kinds = step_s;
  std::sort(kinds.begin(), kinds.end(), std::greater<>());
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
  std::vector<size_t> result;
  for (const double own_s : step_s) {
    const auto place = std::lower_bound(kinds.begin(), kinds.end(), own_s, std::greater<>());
    const auto kind = static_cast<size_t>(place - kinds.begin());
    const size_t last = kinds.size() - 1;
    result.push_back(last > 0 ? (2 * kind * (levels - 1) + last - 1) / (2 * last) : levels - 1);
  }
  return result;
}

int64_t layers_of(double share, int64_t layers) {
  // Rounded up, but half of 12 is 6, whatever binary fractions say.
  return std::clamp<int64_t>(
      static_cast<int64_t>(std::ceil(share * static_cast<double>(layers) - 1e-9)), 1, layers);
}

std::vector<int64_t> last_of(const std::vector<int64_t>& ranks, int64_t depth) {
  std::vector<int64_t> result = ranks;
  std::fill(result.begin(), result.end() - depth, 0);
  return result;
}

int64_t held_by_memory(const std::vector<int64_t>& most_layers, int32_t client, int64_t depth) {
  const auto place = static_cast<size_t>(client);
  return place < most_layers.size() ? std::min(most_layers[place], depth) : depth;
}

}  // namespace fedclock::federation
