// Loss and gradients of a job's batches.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/learning/learning_task.h"

namespace fedclock::learning {

struct BatchLoss {
  double mean = 0;         // over the batch's targets, nats
  double mean_square = 0;  // of each target's loss
};

class BatchGradients {
 public:
  virtual ~BatchGradients() = default;
  // Loss of a batch of these rows of the task's training set (over rows, or over the response
  // tokens of all rows), and the gradients of its mean with respect to the tensors that `gradients`
  // names, written there.
  virtual BatchLoss operator()(std::span<const int32_t> rows, nn::TensorMap& gradients) = 0;
  // Memory of activations, kept or passing.
  virtual int64_t buffer_bytes() const = 0;
};

// By the fast path: forward and backward passes by hand (models/nn/trunk.h), a large batch in parts
// whose activations stay near the processor. `tensors` are read anew at each batch. Only the last
// `depth` layers have gradients; what lies below is the same each time that a row comes, and is
// kept for rows that come again in `batches`, as far as kKeptPrefixBytes reach. `load_balance` is
// that of TrainJob.
std::unique_ptr<BatchGradients> make_fast_gradients(
    const LearningTask& task, const nn::TensorMap& tensors, int64_t depth,
    const std::vector<std::vector<int32_t>>& batches, double load_balance = 0);

// Likewise of both models of an ensemble (ensemble.h), by mutual_losses_backward(); the loss is the
// ensemble's. Their tensors may change in place, and lambda does not.
std::unique_ptr<BatchGradients> make_ensemble_gradients(const LearningTask& task,
                                                        const nn::TensorMap& tensors,
                                                        int64_t depth);

// At least one, and otherwise as many of the first rows as have this many tokens together.
size_t rows_within(std::span<const EncodedRow* const> rows, int64_t tokens);

}  // namespace fedclock::learning
