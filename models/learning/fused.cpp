// FDLoRA (2406.07925), inference: the shared and the private adapter in the proportions that the
// client's own rows like best.
#include <cmath>
#include <limits>

#include "models/learning/evaluate.h"
#include "models/learning/merged_base.h"
#include "models/learning/ranked.h"
#include "models/learning/state_function.h"

namespace fedclock::learning {

namespace {

constexpr int kSteps = 4;  // of a weight, from 0 to 1

// w1 shared + w2 private, one that lacks an element being 0 there. What was merged into the base is
// the shared state's.
nn::TensorMap mixed(const nn::TensorMap& shared, const nn::TensorMap& own, double w1, double w2) {
  nn::TensorMap result;
  const auto mix = [&](const std::string& name) {
    const Ranked a = Ranked::of(shared, name), b = Ranked::of(own, name);
    a.check_fits(b);
    const Ranked& larger = a.rank() < b.rank() ? b : a;
    return larger.make([&](const Place& p) { return w1 * a.at_or(p, 0) + w2 * b.at_or(p, 0); });
  };
  for (const auto& [name, tensor] : shared) {
    const bool merged = parse_tensor_name(name).kind == TensorKind::kMerged;
    result[name] = merged ? tensor : mix(name);
  }
  for (const auto& [name, tensor] : own) {
    if (result.contains(name) || parse_tensor_name(name).kind == TensorKind::kMerged) continue;
    result[name] = mix(name);
  }
  return result;
}

class Fused : public StateFunction {
 public:
  explicit Fused(Rows rows) : rows_(std::move(rows)) {
    ensure(rows_ && !rows_->empty(), "fused() needs rows");
  }
  const char* what() const override { return "fused"; }
  void add_to(DigestBuilder& name) const override { name.add(std::as_bytes(std::span(*rows_))); }
  Outcome operator()(const Inputs& inputs, const Task& task) const override {
    ensure(inputs.size() == 2, "fused() is of two states");
    const nn::TensorMap &shared = *inputs[0], &own = *inputs[1];
    const LearningTask with_base = with_merged(task(), shared);
    Outcome best{{}, {1, 0}};
    double least = std::numeric_limits<double>::infinity();
    // The first of equals stays: the larger w1, then the smaller w2.
    for (int i = kSteps; i >= 0; --i) {
      for (int j = 0; j <= kSteps; ++j) {
        if (i == 0 && j == 0) continue;
        const double w1 = static_cast<double>(i) / kSteps, w2 = static_cast<double>(j) / kSteps;
        nn::TensorMap candidate = mixed(shared, own, w1, w2);
        double loss = loss_of(with_base, candidate, *with_base.train, *rows_);
        if (std::isnan(loss)) loss = std::numeric_limits<double>::infinity();
        if (loss < least || best.tensors.empty()) {
          best = {std::move(candidate), {w1, w2}};
          least = loss;
        }
      }
    }
    return best;
  }

 private:
  const Rows rows_;
};

}  // namespace

Function fused(const Rows& rows) { return std::make_shared<const Fused>(rows); }

}  // namespace fedclock::learning
