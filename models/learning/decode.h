// Greedy decoding: after a prompt, again and again the token that the model finds most likely.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/learning/learning_task.h"

namespace fedclock::learning {

struct Decoding {
  int32_t end = -1;         // token that ends a text, and is left out
  int64_t most_tokens = 0;  // of a text, at least 1
  int64_t vocabulary = 0;   // of the tokeniser, which may know fewer tokens than the model
};

struct Decoded {
  std::vector<std::vector<int32_t>> written;  // after each row's prompt
  int64_t buffer_bytes = 0;                   // of activations, keys and values
};

// What follows each row's prompt, at most up to the model's longest sequence. Of equally likely
// tokens the first one (on a GPU, any). All rows are written on together.
Decoded decode_greedily(const LearningTask& task, const nn::TensorMap& state,
                        std::span<const EncodedRow* const> rows, const Decoding& how);

}  // namespace fedclock::learning
