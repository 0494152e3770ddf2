#include "models/nn/transformer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/nn/rotary.h"
#include "models/nn/soft_prompt.h"

namespace fedclock::nn {

namespace {

size_t index_of(Target target) { return static_cast<size_t>(target); }

const at::Tensor& require(const TensorMap& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw ProgrammerError("the base has no tensor " + name);
  return found->second;
}

at::Tensor find(const TensorMap& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? at::Tensor() : found->second;
}

// Rotates the two halves of each head: x [rows, heads, tokens, head_width].
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = x.size(3) / 2;
  const at::Tensor first = x.narrow(3, 0, half);
  const at::Tensor second = x.narrow(3, half, half);
  return at::cat({first * cos - second * sin, second * cos + first * sin}, 3);
}

at::Tensor activate(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::kGelu: return at::gelu(x);
    case Activation::kGeluTanh: return at::gelu(x, "tanh");
    case Activation::kRelu: return at::relu(x);
    case Activation::kSwiGlu: return at::silu(x);
  }
  throw ProgrammerError("unknown activation");
}

at::Tensor normal_tensor(at::IntArrayRef shape, double deviation, Random& random) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  float* values = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    values[i] = static_cast<float>(deviation * random.normal());
  }
  return tensor;
}

}  // namespace

Batch Batch::to(const at::Device& device) const {
  const auto moved = [&](const at::Tensor& t) { return t.defined() ? t.to(device) : t; };
  return {moved(ids), moved(types), moved(real)};
}

struct Transformer::Context {
  const Adapters& adapters;
  at::Tensor blocked;   // [rows or 1, 1, tokens or 1, tokens] float: 0, or -inf where not seen
  at::Tensor cos, sin;  // [tokens, head_width / 2]
};

void check_weights(const Architecture& architecture, const TensorMap& weights) {
  for (const auto& parameter : parameter_shapes(architecture)) {
    const at::Tensor& tensor = require(weights, parameter.name);
    if (tensor.sizes() != at::IntArrayRef(parameter.shape)) {
      throw ProgrammerError("a tensor of the wrong shape: " + parameter.name);
    }
  }
}

Transformer::Transformer(const Architecture& architecture, const TensorMap& weights)
    : architecture_(architecture) {
  const Architecture& a = architecture_;
  check_weights(a, weights);
  const auto norm_weights = [&](const std::string& name) {
    return NormWeights{find(weights, name + ".weight"), find(weights, name + ".bias")};
  };
  token_embedding_ = require(weights, "embeddings.token");
  position_embedding_ = find(weights, "embeddings.position");
  type_embedding_ = find(weights, "embeddings.type");
  output_embedding_ = a.tied_head || a.kind == Kind::kEncoder ? token_embedding_
                                                              : require(weights, "lm_head.weight");
  embedding_norm_ = norm_weights("embeddings.norm");
  final_norm_ = norm_weights("final_norm");
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    Layer one;
    for (Target target : kAllTargets) {
      const std::string name = layer_tensor(layer, target_name(target));
      one.maps[index_of(target)] = {find(weights, name + ".weight"), find(weights, name + ".bias")};
    }
    one.attention_norm = norm_weights(layer_tensor(layer, "attention_norm"));
    one.ffn_norm = norm_weights(layer_tensor(layer, "ffn_norm"));
    layers_.push_back(std::move(one));
  }
  if (a.positions == Positions::kRotary) {
    const RotaryAngles angles = rotary_angles(a);
    const auto table = [&](const std::vector<float>& values) {
      return at::tensor(values, at::kFloat).view({a.max_tokens, a.head_width / 2}).to(device());
    };
    rope_cos_ = table(angles.cos);
    rope_sin_ = table(angles.sin);
  }
}

at::Tensor Transformer::norm(const at::Tensor& x, const NormWeights& weights) const {
  if (architecture_.norm == Norm::kLayerNorm) {
    return at::layer_norm(x, {x.size(-1)}, weights.weight, weights.bias, architecture_.norm_epsilon,
                          /*cudnn_enable=*/false);
  }
  const at::Tensor mean_square = at::mean(x * x, {-1}, /*keepdim=*/true);
  return x * at::rsqrt(mean_square + architecture_.norm_epsilon) * weights.weight;
}

at::Tensor Transformer::map(int64_t layer, Target target, const at::Tensor& x,
                            const Adapters& adapters) const {
  const Linear& linear = layers_[layer].maps[index_of(target)];
  const at::Tensor y = at::linear(x, linear.weight, linear.bias);
  const at::Tensor delta = adapters.delta(layer, target, x);
  return delta.defined() ? y + delta : y;
}

at::Tensor Transformer::embed(const Batch& batch, const at::Tensor& prompt) const {
  const Architecture& a = architecture_;
  const int64_t tokens = batch.ids.size(1);
  at::Tensor x;  // [rows, tokens, width]
  if (prompt.defined()) {
    const at::Tensor virtual_rows = prompt_row(0) - batch.ids;
    x = at::where(batch.ids.lt(0).unsqueeze(2), at::embedding(prompt, virtual_rows.clamp_min(0)),
                  at::embedding(token_embedding_, batch.ids.clamp_min(0)));
  } else {
    x = at::embedding(token_embedding_, batch.ids);
  }
  if (a.positions == Positions::kLearned) {
    x = x + position_embedding_.narrow(0, a.position_offset, tokens);
  }
  if (a.token_types > 0) {
    x = x + (batch.types.defined() ? at::embedding(type_embedding_, batch.types)
                                   : type_embedding_.select(0, 0));
  }
  return a.embedding_norm ? norm(x, embedding_norm_) : x;
}

at::Tensor Transformer::attention(int64_t layer, const at::Tensor& x,
                                  const Context& context) const {
  const Architecture& a = architecture_;
  const int64_t rows = x.size(0), tokens = x.size(1);
  // [rows, tokens, heads * head_width] -> [rows, heads, tokens, head_width]
  const auto heads_first = [&](const at::Tensor& t, int64_t heads) {
    return t.view({rows, tokens, heads, a.head_width}).transpose(1, 2);
  };
  at::Tensor q = heads_first(map(layer, Target::kQ, x, context.adapters), a.heads);
  at::Tensor k = heads_first(map(layer, Target::kK, x, context.adapters), a.kv_heads);
  at::Tensor v = heads_first(map(layer, Target::kV, x, context.adapters), a.kv_heads);
  if (a.positions == Positions::kRotary) {
    q = rotate(q, context.cos, context.sin);
    k = rotate(k, context.cos, context.sin);
  }
  if (a.kv_heads != a.heads) {
    k = k.repeat_interleave(a.heads / a.kv_heads, 1);
    v = v.repeat_interleave(a.heads / a.kv_heads, 1);
  }
  at::Tensor scores =
      at::matmul(q * (1.0 / std::sqrt(static_cast<double>(a.head_width))), k.transpose(2, 3));
  if (context.blocked.defined()) scores = scores + context.blocked;
  const at::Tensor mixed = at::matmul(at::softmax(scores, -1), v);
  return map(layer, Target::kO,
             mixed.transpose(1, 2).reshape({rows, tokens, a.heads * a.head_width}),
             context.adapters);
}

at::Tensor Transformer::feed_forward(int64_t layer, const at::Tensor& x,
                                     const Context& context) const {
  at::Tensor inner = map(layer, Target::kUp, x, context.adapters);
  if (architecture_.activation == Activation::kSwiGlu) {
    inner = at::silu(map(layer, Target::kGate, x, context.adapters)) * inner;
  } else {
    inner = activate(architecture_.activation, inner);
  }
  return map(layer, Target::kDown, inner, context.adapters);
}

at::Tensor Transformer::hidden(const Batch& batch, const Adapters& adapters) const {
  const Architecture& a = architecture_;
  const int64_t tokens = batch.ids.size(1);
  ensure(tokens <= a.max_tokens, "a batch is longer than the model's max_tokens");
  constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
  Context context{adapters, {}, {}, {}};
  if (batch.real.defined()) {
    context.blocked =
        at::zeros({batch.ids.size(0), 1, 1, tokens}, at::device(device()).dtype(at::kFloat))
            .masked_fill_(batch.real.logical_not().view({-1, 1, 1, tokens}), kMinusInfinity);
  }
  if (a.kind == Kind::kDecoder) {
    const at::Tensor causal = at::triu(
        at::full({1, 1, tokens, tokens}, kMinusInfinity, at::device(device()).dtype(at::kFloat)),
        1);
    context.blocked = context.blocked.defined() ? context.blocked + causal : causal;
  }
  if (a.positions == Positions::kRotary) {
    context.cos = rope_cos_.narrow(0, 0, tokens);
    context.sin = rope_sin_.narrow(0, 0, tokens);
  }
  at::Tensor x = embed(batch, adapters.prompt());
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    const Layer& weights = layers_[layer];
    if (a.norm_place == NormPlace::kBeforeBlock) {
      x = x + attention(layer, norm(x, weights.attention_norm), context);
      x = x + feed_forward(layer, norm(x, weights.ffn_norm), context);
    } else {
      x = norm(x + attention(layer, x, context), weights.attention_norm);
      x = norm(x + feed_forward(layer, x, context), weights.ffn_norm);
    }
  }
  return a.norm_place == NormPlace::kBeforeBlock ? norm(x, final_norm_) : x;
}

at::Tensor Transformer::vocabulary_scores(const at::Tensor& states) const {
  return at::linear(states, output_embedding_);
}

at::Tensor pooled(Kind kind, const at::Tensor& hidden, const at::Tensor& real) {
  if (kind == Kind::kDecoder) {
    if (!real.defined()) return hidden.select(1, hidden.size(1) - 1);
    const at::Tensor last = real.sum(1) - 1;  // [rows]
    return hidden.gather(1, last.view({-1, 1, 1}).expand({-1, 1, hidden.size(2)})).squeeze(1);
  }
  if (!real.defined()) return hidden.mean(1);
  const at::Tensor weight = real.to(at::kFloat).unsqueeze(2);  // [rows, tokens, 1]
  return (hidden * weight).sum(1) / weight.sum(1);
}

TensorMap random_weights(const Architecture& architecture, uint64_t seed) {
  TensorMap weights;
  Random random(seed, "base weights");
  for (const auto& parameter : parameter_shapes(architecture)) {
    const bool matrix = parameter.shape.size() > 1;
    const bool bias = parameter.name.ends_with(".bias");
    // With norms before the blocks, linear maps keep the variance of what passes through them
    // (Glorot and Bengio, 2010); BERT's 0.02 elsewhere.
    const bool keep_variance = matrix && architecture.norm_place == NormPlace::kBeforeBlock &&
                               !parameter.name.starts_with("embeddings.");
    const double deviation =
        keep_variance
            ? std::sqrt(2.0 / static_cast<double>(parameter.shape[0] + parameter.shape[1]))
            : 0.02;
    weights[parameter.name] = matrix ? normal_tensor(parameter.shape, deviation, random)
                              : bias ? at::zeros(parameter.shape, at::kFloat)
                                     : at::ones(parameter.shape, at::kFloat);
  }
  return weights;
}

}  // namespace fedclock::nn
