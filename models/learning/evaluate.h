// Evaluation as a pure function: the same base, state and rows give the same bits.
#pragma once

#include <cstdint>
#include <span>

#include "models/learning/learning_task.h"

namespace fedclock::learning {

// Sums over rows, so that parts of a set can be added up in order.
struct EvaluationSums {
  int64_t rows = 0, correct = 0;
  double loss = 0;
  int64_t buffer_bytes = 0;  // activations, at most
};

// Classification: cross entropy and the share of rows whose class scores highest. With responses:
// mean loss of the response's tokens, and the share of rows whose own answer has the smallest loss,
// summed over its tokens, among all classes' answers.
EvaluationSums evaluate(const LearningTask& task, const nn::TensorMap& state, const EncodedSet& set,
                        std::span<const int32_t> rows);

}  // namespace fedclock::learning
