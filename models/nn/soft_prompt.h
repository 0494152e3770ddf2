// Soft prompts: rows that stand for tokens in front of a text, by the names of prompt_shapes(). In
// rows of token ids -1 - p is row p.
#pragma once

#include "models/nn/architecture.h"
#include "models/nn/matrix.h"
#include "models/nn/tensor_map.h"
#include "models/nn/torch.h"

namespace fedclock::nn {

inline int32_t prompt_id(int64_t row) { return static_cast<int32_t>(-1 - row); }
inline int64_t prompt_row(int64_t id) { return -1 - id; }

// [tokens, width]: prompt.embedding, or with an encoder W2 relu(W1 relu(W0 e + b0) + b1) + b2 of
// each of its rows e; undefined where `tensors` has none.
at::Tensor soft_prompt(const TensorMap& tensors);

// Whether a state, or gradients, have one of its tensors by name.
bool has_prompt(const TensorMap& tensors);
// The gradients of those tensors that `gradients` has, written or added there, from that of the
// prompt [tokens, width].
void prompt_gradients(const TensorMap& tensors, const at::Tensor& d_prompt, TensorMap& gradients,
                      Onto onto);

// A fresh one. Without an encoder its rows are those of tokens drawn from `token_embedding`
// [vocabulary, width] (2104.08691, section 3.2); with one, from N(0, 1), and weights and biases
// uniform in +-1/sqrt(in), as PEFT has them.
TensorMap random_prompt(const PromptSpec& prompt, const at::Tensor& token_embedding, uint64_t seed);

}  // namespace fedclock::nn
