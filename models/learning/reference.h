// Loss and gradients of a batch by stock libtorch operators and autograd: what the fast path
// (models/nn/trunk.h) is tested against, and the path of adapters with dropout and of CUDA devices.
#pragma once

#include <memory>
#include <span>

#include "models/learning/batch_gradients.h"
#include "models/learning/learner.h"

namespace fedclock::learning {

// Mean loss of the batch: over rows, or over the response tokens of all rows. [] float32, with its
// graph where `tensors` require gradients.
at::Tensor reference_loss(const LearningTask& task, const nn::Adapters& adapters,
                          const nn::TensorMap& tensors, std::span<const EncodedRow* const> rows);

// Gradients of a job's batches by autograd.
std::unique_ptr<BatchGradients> make_reference_gradients(const LearningTask& task,
                                                         const nn::TensorMap& tensors,
                                                         const TrainJob& job);

}  // namespace fedclock::learning
