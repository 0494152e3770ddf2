#include "models/learning/ensemble.h"

#include <algorithm>

#include "models/common/error.h"
#include "models/nn/passes.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

using nn::Matrix;

// Scores of some targets by both models, and mixed.
struct Scores {
  Matrix shared, own, mixed;
};

Scores scores_of(const Readout& shared, const Readout& own, float weight, int64_t first,
                 int64_t count, nn::Arena& arena) {
  Scores z{arena.matrix(count, shared.columns()), arena.matrix(count, shared.columns()),
           arena.matrix(count, shared.columns())};
  shared.scores(first, z.shared);
  own.scores(first, z.own);
  for (int64_t i = 0; i < count * shared.columns(); ++i) {
    z.mixed.data[i] = weight * z.own.data[i] + (1 - weight) * z.shared.data[i];
  }
  return z;
}

// The losses of scores [n, classes], which become `weight` times their gradients where it is not 0.
void cross_entropy(const Examples& examples, int64_t first, float weight, const Matrix& scores,
                   TargetLosses& losses) {
  losses.correct +=
      nn::cross_entropy(scores.rows, scores.columns, examples.targets.data() + first, weight,
                        weight != 0, scores.data, losses.losses.data() + first);
}

// visit(first, count) for as many targets as have scores at the same time.
template <class Visit>
void for_each_part(const Readout& readout, nn::Arena& arena, const Visit& visit) {
  for (int64_t first = 0; first < readout.targets(); first += readout.at_once()) {
    const nn::Arena::Mark mark = arena.mark();
    visit(first, std::min(readout.at_once(), readout.targets() - first));
    arena.rewind(mark);
  }
}

TargetLosses no_losses(const Examples& examples) {
  return {std::vector<double>(examples.targets.size(), 0), 0};
}

}  // namespace

std::string private_name(const std::string& name) { return std::string(kPrivatePrefix) + name; }

nn::TensorMap member_of(const nn::TensorMap& state, Member member) {
  nn::TensorMap of;
  for (const auto& [name, tensor] : state) {
    const bool own = name.starts_with(kPrivatePrefix);
    if (name == kEnsembleWeight || own != (member == Member::kPrivate)) continue;
    of[own ? name.substr(kPrivatePrefix.size()) : name] = tensor;
  }
  return of;
}

std::optional<float> private_weight(const nn::TensorMap& state) {
  const auto found = state.find(kEnsembleWeight);
  if (found == state.end()) return std::nullopt;
  return found->second.data_ptr<float>()[0];
}

TargetLosses ensemble_losses(const Readout& shared, const Readout& own, float weight,
                             const Examples& examples, nn::Arena& arena) {
  TargetLosses losses = no_losses(examples);
  for_each_part(shared, arena, [&](int64_t first, int64_t count) {
    const Scores z = scores_of(shared, own, weight, first, count, arena);
    cross_entropy(examples, first, 0, z.mixed, losses);
  });
  return losses;
}

// sum_i (p_i - y_i) (z_private_i - z_shared_i)
double ensemble_slope(const Readout& shared, const Readout& own, float weight,
                      const Examples& examples, nn::Arena& arena) {
  TargetLosses losses = no_losses(examples);
  double slope = 0;
  for_each_part(shared, arena, [&](int64_t first, int64_t count) {
    const Scores z = scores_of(shared, own, weight, first, count, arena);
    cross_entropy(examples, first, 1, z.mixed, losses);
    for (int64_t i = 0; i < count * shared.columns(); ++i) {
      slope += static_cast<double>(z.mixed.data[i]) * (z.own.data[i] - z.shared.data[i]);
    }
  });
  return slope;
}

// With g = p - y of each of the three, the gradient of KL(p_s || p_p) in z_p is p_p - p_s = g_p -
// g_s, and that of CE(z) weight g_z.
TargetLosses mutual_losses_backward(const Readout& shared, const Readout& own, float weight,
                                    const Examples& examples, double scale,
                                    const ReadoutGradients& of_shared,
                                    const ReadoutGradients& of_own, nn::Arena& arena) {
  TargetLosses losses = no_losses(examples), unused = no_losses(examples);
  const auto each = static_cast<float>(scale);
  for_each_part(shared, arena, [&](int64_t first, int64_t count) {
    const Scores z = scores_of(shared, own, weight, first, count, arena);
    cross_entropy(examples, first, each, z.mixed, losses);
    cross_entropy(examples, first, each, z.shared, unused);
    cross_entropy(examples, first, each, z.own, unused);
    for (int64_t i = 0; i < count * shared.columns(); ++i) {
      const float g_shared = z.shared.data[i], g_own = z.own.data[i], g = z.mixed.data[i];
      z.shared.data[i] = 2 * g_shared - g_own + (1 - weight) * g;
      z.own.data[i] = 2 * g_own - g_shared + weight * g;
    }
    shared.backward(first, z.shared, of_shared, arena);
    own.backward(first, z.own, of_own, arena);
  });
  return losses;
}

}  // namespace fedclock::learning
