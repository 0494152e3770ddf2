// Two models of one base side by side, whose scores are mixed (FedAPEN, Qin et al., KDD 2023): in a
// state the shared one's tensors have their own names, the private one's "private." before them,
// and "ensemble.weight" [4] is lambda, the private one's weight, with what Adam keeps of it: both
// moments and the number of steps. Of a target
//   z = lambda z_private + (1 - lambda) z_shared.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "models/learning/adapter_names.h"
#include "models/learning/loss.h"
#include "models/nn/tensor_map.h"

namespace fedclock::learning {

std::string private_name(const std::string& name);

// The tensors of one of the two, by their own names; handles on those of `state`, of any state.
enum class Member { kShared, kPrivate };
nn::TensorMap member_of(const nn::TensorMap& state, Member member);

// lambda; nullopt of a single model.
std::optional<float> private_weight(const nn::TensorMap& state);

// The cross entropy of z; both readouts are of `examples`.
TargetLosses ensemble_losses(const Readout& shared, const Readout& own, float weight,
                             const Examples& examples, nn::Arena& arena);
// d / d lambda of the losses' sum.
double ensemble_slope(const Readout& shared, const Readout& own, float weight,
                      const Examples& examples, nn::Arena& arena);

// The same losses, and of `scale` times the sum over targets of
//   CE(z_private) + KL(p_shared || p_private) + CE(z)   the private model's gradients,
//   CE(z_shared) + KL(p_private || p_shared) + CE(z)    the shared one's,
// the other one being held still in each; p = softmax(z), KL summed over the classes.
TargetLosses mutual_losses_backward(const Readout& shared, const Readout& own, float weight,
                                    const Examples& examples, double scale,
                                    const ReadoutGradients& of_shared,
                                    const ReadoutGradients& of_own, nn::Arena& arena);

}  // namespace fedclock::learning
