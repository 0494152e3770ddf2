// One transformer for encoders and decoders, on plain libtorch operators, with LoRA adapters.
//
// Block after Vaswani et al. (1706.03762); norm after each block (BERT, 1810.04805) or before
// (GPT-2, Llama 2302.13971); adapters y = W x + b + (alpha / rank) B A x (2106.09685).
// Gradients flow only to tensors that require them: with a frozen base and adapters in the last d
// layers, autograd records nothing below layer L - d, so the backward pass stops there.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "models/nn/adapters.h"
#include "models/nn/architecture.h"
#include "models/nn/tensor_map.h"
#include "models/nn/torch.h"

namespace fedclock::nn {

// ProgrammerError unless `weights` has all of parameter_shapes(), each with its shape.
void check_weights(const Architecture& architecture, const TensorMap& weights);

// Tokens of several rows, padded at the end to the longest.
struct Batch {
  at::Tensor ids;    // [rows, tokens] int64; below 0: of a soft prompt (soft_prompt.h)
  at::Tensor types;  // [rows, tokens] int64; undefined: all 0
  at::Tensor real;   // [rows, tokens] bool, false on padding; undefined: no padding

  Batch to(const at::Device& device) const;
};

class Transformer {
 public:
  // `weights` by the names and shapes of parameter_shapes(); ProgrammerError otherwise. Batches and
  // adapters must be on the weights' device.
  Transformer(const Architecture& architecture, const TensorMap& weights);

  const Architecture& architecture() const { return architecture_; }
  at::Device device() const { return token_embedding_.device(); }

  // Hidden states after the last layer and the final norm [rows, tokens, width].
  at::Tensor hidden(const Batch& batch, const Adapters& adapters = {}) const;

  // Scores of the next (decoder) or the hidden (encoder) token at chosen places:
  // states [n, width] -> [n, vocabulary].
  at::Tensor vocabulary_scores(const at::Tensor& states) const;

 private:
  struct NormWeights {
    at::Tensor weight, bias;
  };
  struct Linear {
    at::Tensor weight, bias;
  };
  struct Layer {
    std::array<Linear, std::size(kAllTargets)> maps;
    NormWeights attention_norm, ffn_norm;
  };
  struct Context;  // what is the same for all layers of one forward pass

  at::Tensor embed(const Batch& batch, const at::Tensor& prompt) const;
  at::Tensor norm(const at::Tensor& x, const NormWeights& weights) const;
  at::Tensor map(int64_t layer, Target target, const at::Tensor& x, const Adapters& adapters) const;
  at::Tensor attention(int64_t layer, const at::Tensor& x, const Context& context) const;
  at::Tensor feed_forward(int64_t layer, const at::Tensor& x, const Context& context) const;

  Architecture architecture_;
  at::Tensor token_embedding_, position_embedding_, type_embedding_, output_embedding_;
  NormWeights embedding_norm_, final_norm_;
  std::vector<Layer> layers_;
  at::Tensor rope_cos_, rope_sin_;  // [max_tokens, head_width / 2]
};

// What a classification head sees of a row: the mean of its real tokens' states (encoder), or
// the state of its last real token (decoder). hidden [rows, tokens, width] -> [rows, width].
at::Tensor pooled(Kind kind, const at::Tensor& hidden, const at::Tensor& real);

// Embeddings from N(0, 0.02^2), linear maps from N(0, 2 / (in + out)) (norms before blocks) or
// N(0, 0.02^2) (after), norms 1, biases 0, from the counter-based generator.
TensorMap random_weights(const Architecture& architecture, uint64_t seed);

}  // namespace fedclock::nn
