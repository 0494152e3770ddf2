#include "models/learning/merge.h"

#include <algorithm>

#include "models/learning/ranked.h"

namespace fedclock::learning {

Aggregation::Aggregation(const std::vector<double>& weights) : weights_(weights) {
  ensure(std::all_of(weights.begin(), weights.end(), [](double w) { return w > 0; }),
         "a state of no weight is merged");
}

void Aggregation::add_to(DigestBuilder& name) const {
  for (const double weight : weights_) name.add(weight);
}

States Aggregation::states_after(size_t others, const Inputs& inputs) const {
  ensure(!weights_.empty() && inputs.size() == others + weights_.size(),
         "an aggregation needs states, and a weight for each");
  return {inputs.begin() + static_cast<std::ptrdiff_t>(others), inputs.end()};
}

std::set<std::string> names_of(const States& states) {
  std::set<std::string> names;
  for (const nn::TensorMap* state : states) {
    for (const auto& [name, tensor] : *state) {
      if (parse_tensor_name(name).kind != TensorKind::kMerged) names.insert(name);
    }
  }
  return names;
}

at::Tensor mean_of(const std::string& name, const nn::TensorMap& global, const States& states,
                   const std::vector<double>& weights, Lacking lacking) {
  const Ranked old = Ranked::of(global, name);
  std::vector<Ranked> holders;
  std::vector<double> own;  // weights
  int64_t rank = old.rank();
  for (size_t i = 0; i < states.size(); ++i) {
    Ranked one = Ranked::of(*states[i], name);
    if (one.absent()) continue;
    one.check_fits(old);
    if (!holders.empty()) one.check_fits(holders.front());
    rank = std::max(rank, one.rank());
    holders.push_back(std::move(one));
    own.push_back(weights[i]);
  }
  ensure(!holders.empty(), "a mean of no states");
  // shares[r][i] = w_i / w at the rank's row or column r.
  std::vector<std::vector<double>> shares(static_cast<size_t>(rank), own);
  for (int64_t r = 0; r < rank; ++r) {
    double sum = 0;
    for (size_t i = 0; i < holders.size(); ++i) {
      if (lacking == Lacking::kZero || holders[i].rank() > r) sum += own[i];
    }
    for (double& share : shares[static_cast<size_t>(r)]) share /= sum;
  }
  return holders.front().make(rank, [&](const Place& p) {
    const std::vector<double>& of_rank = shares[static_cast<size_t>(p.rank)];
    double sum = 0;
    bool held = lacking == Lacking::kZero;
    for (size_t i = 0; i < holders.size(); ++i) {
      if (!holders[i].has(p)) continue;
      sum += of_rank[i] * holders[i].at(p);
      held = true;
    }
    return held ? sum : old.at(p);
  });
}

void merge_unranked(const States& states, const std::vector<double>& weights,
                    nn::TensorMap& global) {
  for (const std::string& name : names_of(states)) {
    if (is_factor(name)) continue;
    global[name] = mean_of(name, global, states, weights, Lacking::kLeftOut);
  }
}

namespace {

class MeanOfHolders : public Aggregation {
 public:
  using Aggregation::Aggregation;
  const char* what() const override { return "mean of holders"; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    const States states = states_after(1, inputs);
    nn::TensorMap global = *inputs.front();
    for (const std::string& name : names_of(states)) {
      global[name] = mean_of(name, *inputs.front(), states, weights_, Lacking::kLeftOut);
    }
    return {std::move(global), {}};
  }
};

}  // namespace

Function mean_of_holders(const std::vector<double>& weights) {
  return std::make_shared<const MeanOfHolders>(weights);
}

}  // namespace fedclock::learning
