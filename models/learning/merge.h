// What the aggregations (functions.h) have in common: weights of states, and means.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "models/learning/state_function.h"
#include "models/nn/tensor_map.h"

namespace fedclock::learning {

using States = std::vector<const nn::TensorMap*>;

// weights[i] belongs to state i, above 0, in any unit.
class Aggregation : public StateFunction {
 public:
  explicit Aggregation(const std::vector<double>& weights);
  void add_to(DigestBuilder& name) const override;

 protected:
  // The states, which follow so many other inputs.
  States states_after(size_t others, const Inputs& inputs) const;

  const std::vector<double> weights_;
};

// Of the states, but for what was merged into the base: that stays as in the global state.
std::set<std::string> names_of(const States& states);

// What an element counts in a state whose adapter has too small a rank for it.
enum class Lacking { kLeftOut, kZero };

// sum_i (w_i / w) theta_i of a tensor over the states that have it, w their weights' sum, at the
// largest of the ranks, global's included. With kLeftOut element by element, over the states that
// have the element; as in `global` where none has it.
at::Tensor mean_of(const std::string& name, const nn::TensorMap& global, const States& states,
                   const std::vector<double>& weights, Lacking lacking);

// Means of head, soft prompt and routers, into the new global state.
void merge_unranked(const States& states, const std::vector<double>& weights,
                    nn::TensorMap& global);

}  // namespace fedclock::learning
