// Losses and gradients of a batch by stock libtorch operators and autograd, on the device of the
// base: what the fast path (models/nn/trunk.h) is tested against, and the path of adapters with
// dropout and of CUDA devices.
#pragma once

#include <memory>
#include <span>

#include "models/learning/batch_gradients.h"
#include "models/learning/learner.h"
#include "models/learning/loss.h"

namespace fedclock::learning {

// The mean of the batch's target losses, with its graph where `tensors`, on the base's device,
// require gradients. [] float32
at::Tensor reference_loss(const LearningTask& task, const nn::Adapters& adapters,
                          const nn::TensorMap& tensors, std::span<const EncodedRow* const> rows);

// The targets' losses, as target_losses() has them.
TargetLosses reference_losses(const LearningTask& task, const nn::TensorMap& tensors,
                              std::span<const EncodedRow* const> rows);

// Gradients of a job's batches by autograd.
std::unique_ptr<BatchGradients> make_reference_gradients(const LearningTask& task,
                                                         const nn::TensorMap& tensors,
                                                         const TrainJob& job);

}  // namespace fedclock::learning
