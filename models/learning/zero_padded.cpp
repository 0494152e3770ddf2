// HetLoRA (2401.06432): aggregation by the norms of the products, and the norm of a tail.
#include <algorithm>
#include <cmath>

#include "models/common/error.h"
#include "models/learning/adapter_names.h"
#include "models/learning/merge.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

// ||B A||_F^2 = sum_rs (B^T B)_rs (A A^T)_rs: no product [out, in] is formed.
double squared_norm(const Adapter& adapter) {
  const auto& [a, b] = adapter;
  double sum = 0;
  for (int64_t r = 0; r < adapter.rank(); ++r) {
    for (int64_t s = 0; s < adapter.rank(); ++s) {
      double of_a = 0, of_b = 0;
      for (int64_t i = 0; i < a.columns; ++i) {
        of_a += static_cast<double>(a.data[r * a.stride + i]) * a.data[s * a.stride + i];
      }
      for (int64_t o = 0; o < b.rows; ++o) {
        of_b += static_cast<double>(b.data[o * b.stride + r]) * b.data[o * b.stride + s];
      }
      sum += of_a * of_b;
    }
  }
  return std::max(sum, 0.0);
}

// Of all adapters of a state together.
double product_norm(const nn::TensorMap& state) {
  double sum = 0;
  for (const std::string& map : adapted_maps({&state})) {
    sum += squared_norm(*adapter_of(state, map));
  }
  return std::sqrt(sum);
}

class ZeroPadded : public Aggregation {
 public:
  using Aggregation::Aggregation;
  const char* what() const override { return "zero-padded"; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    const States states = states_after(1, inputs);
    std::vector<double> norms;
    for (const nn::TensorMap* state : states) norms.push_back(product_norm(*state));
    nn::TensorMap global = *inputs.front();
    merge_unranked(states, weights_, global);
    for (const std::string& name : names_of(states)) {
      if (!is_factor(name)) continue;
      double sum = 0;
      for (size_t i = 0; i < states.size(); ++i) {
        if (states[i]->contains(name)) sum += norms[i];
      }
      global[name] =
          mean_of(name, *inputs.front(), states, sum == 0 ? weights_ : norms, Lacking::kZero);
    }
    return {std::move(global), {}};
  }
};

double norm_of(const nn::Matrix& part) {
  double sum = 0;
  for (int64_t r = 0; r < part.rows; ++r) {
    for (int64_t c = 0; c < part.columns; ++c) {
      const double x = part.data[r * part.stride + c];
      sum += x * x;
    }
  }
  return std::sqrt(sum);
}

class TailNorm : public StateFunction {
 public:
  explicit TailNorm(int64_t keep) : keep_(keep) {
    ensure(keep >= 0, "a tail after fewer than no rows");
  }
  const char* what() const override { return "tail norm"; }
  bool is_measure() const override { return true; }
  void add_to(DigestBuilder& name) const override { name.add(keep_); }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    ensure(inputs.size() == 1, "tail_norm() is of a state");
    double sum = 0;
    for (const std::string& map : adapted_maps(inputs)) {
      const Adapter adapter = *adapter_of(*inputs.front(), map);
      const int64_t size = adapter.rank() - keep_;
      if (size <= 0) continue;
      sum +=
          norm_of(adapter.b.column_range(keep_, size)) * norm_of(adapter.a.row_range(keep_, size));
    }
    return {{}, {sum}};
  }

 private:
  const int64_t keep_;
};

}  // namespace

Function zero_padded(const std::vector<double>& weights) {
  return std::make_shared<const ZeroPadded>(weights);
}

Function tail_norm(int64_t keep) { return std::make_shared<const TailNorm>(keep); }

}  // namespace fedclock::learning
