// Evaluation as a pure function: the same base, state and rows give the same bits.
#pragma once

#include <cstdint>
#include <span>

#include "models/learning/learning_task.h"

namespace fedclock::learning {

// Sums over rows, so that parts of a set can be added up in order.
struct EvaluationSums {
  int64_t rows = 0;
  double score = 0;  // of each row 1 where it is right, or its ROUGE-L
  double loss = 0;
  int64_t buffer_bytes = 0;  // activations, at most
};

// Classification: cross entropy and the share of rows whose class scores highest. With responses:
// mean loss of the response's tokens, and the share of rows whose own answer has the smallest loss,
// summed over its tokens, among all classes' answers. With responses of their own: the same mean
// loss (perplexity is its exponential), and ROUGE-L (rouge.h) of what greedy decoding writes after
// the prompt.
EvaluationSums evaluate(const LearningTask& task, const nn::TensorMap& state, const EncodedSet& set,
                        std::span<const int32_t> rows);

// The loss of that alone, over all rows: nothing is decoded.
double loss_of(const LearningTask& task, const nn::TensorMap& state, const EncodedSet& set,
               std::span<const int32_t> rows);

}  // namespace fedclock::learning
