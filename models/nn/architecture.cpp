#include "models/nn/architecture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/common/error.h"

namespace fedclock::nn {

std::string_view target_name(Target target) {
  switch (target) {
    case Target::kQ: return "q";
    case Target::kK: return "k";
    case Target::kV: return "v";
    case Target::kO: return "o";
    case Target::kUp: return "up";
    case Target::kGate: return "gate";
    case Target::kDown: return "down";
  }
  throw ProgrammerError("unknown target");
}

std::optional<LinearShape> linear_shape(const Architecture& a, Target target) {
  const int64_t query_width = a.heads * a.head_width;
  const int64_t kv_width = a.kv_heads * a.head_width;
  switch (target) {
    case Target::kQ: return LinearShape{a.width, query_width};
    case Target::kK:
    case Target::kV: return LinearShape{a.width, kv_width};
    case Target::kO: return LinearShape{query_width, a.width};
    case Target::kUp: return LinearShape{a.width, a.ffn_width};
    case Target::kGate:
      if (a.activation != Activation::kSwiGlu) return std::nullopt;
      return LinearShape{a.width, a.ffn_width};
    case Target::kDown: return LinearShape{a.ffn_width, a.width};
  }
  throw ProgrammerError("unknown target");
}

std::string layer_tensor(int64_t layer, std::string_view rest) {
  return fmt::format("layers.{}.{}", layer, rest);
}

namespace {

bool has_bias(const Architecture& a, Target target) {
  const bool qkv = target == Target::kQ || target == Target::kK || target == Target::kV;
  return qkv ? a.qkv_biases : a.biases;
}

}  // namespace

std::vector<ParameterShape> parameter_shapes(const Architecture& a) {
  std::vector<ParameterShape> all;
  const auto add_norm = [&](const std::string& name) {
    all.push_back({name + ".weight", {a.width}});
    if (a.norm == Norm::kLayerNorm) all.push_back({name + ".bias", {a.width}});
  };
  all.push_back({"embeddings.token", {a.vocabulary, a.width}});
  if (a.positions == Positions::kLearned) {
    all.push_back({"embeddings.position", {a.position_offset + a.max_tokens, a.width}});
  }
  if (a.token_types > 0) all.push_back({"embeddings.type", {a.token_types, a.width}});
  if (a.embedding_norm) add_norm("embeddings.norm");
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    add_norm(layer_tensor(layer, "attention_norm"));
    for (Target target : kAllTargets) {
      const auto shape = linear_shape(a, target);
      if (!shape) continue;
      const std::string name = layer_tensor(layer, target_name(target));
      all.push_back({name + ".weight", {shape->out, shape->in}});
      if (has_bias(a, target)) all.push_back({name + ".bias", {shape->out}});
    }
    add_norm(layer_tensor(layer, "ffn_norm"));
  }
  if (a.norm_place == NormPlace::kBeforeBlock) add_norm("final_norm");
  if (a.kind == Kind::kDecoder && !a.tied_head) {
    all.push_back({"lm_head.weight", {a.vocabulary, a.width}});
  }
  return all;
}

int64_t element_count(const std::vector<ParameterShape>& shapes) {
  int64_t total = 0;
  for (const auto& parameter : shapes) {
    int64_t size = 1;
    for (int64_t extent : parameter.shape) size *= extent;
    total += size;
  }
  return total;
}

int64_t parameter_count(const Architecture& architecture) {
  return element_count(parameter_shapes(architecture));
}

std::vector<ParameterShape> prompt_shapes(const PromptSpec& prompt, int64_t width) {
  if (prompt.tokens == 0) return {};
  std::vector<ParameterShape> shapes = {{"prompt.embedding", {prompt.tokens, width}}};
  if (prompt.encoder == 0) return shapes;
  const int64_t hidden =
      std::max<int64_t>(1, std::llround(prompt.encoder * static_cast<double>(width)));
  const int64_t widths[] = {width, hidden, hidden, width};
  for (size_t i = 0; i + 1 < std::size(widths); ++i) {
    const std::string layer = fmt::format("prompt.encoder.{}.", i);
    shapes.push_back({layer + "weight", {widths[i + 1], widths[i]}});
    shapes.push_back({layer + "bias", {widths[i + 1]}});
  }
  return shapes;
}

void check_architecture(const Architecture& a) {
  const auto at_least_one = [](int64_t value, std::string_view field) {
    if (value < 1) throw InputError(fmt::format("{} is {}: at least 1 is needed", field, value));
  };
  at_least_one(a.vocabulary, "vocabulary");
  at_least_one(a.layers, "layers");
  at_least_one(a.width, "width");
  at_least_one(a.heads, "heads");
  at_least_one(a.kv_heads, "kv_heads");
  at_least_one(a.head_width, "head_width");
  at_least_one(a.ffn_width, "ffn_width");
  at_least_one(a.max_tokens, "max_tokens");
  if (a.heads % a.kv_heads != 0) {
    throw InputError(fmt::format("kv_heads {} does not divide heads {}", a.kv_heads, a.heads));
  }
  if (a.positions == Positions::kRotary && a.head_width % 2 != 0) {
    throw InputError(
        fmt::format("a head is {} wide: rotary positions need an even width", a.head_width));
  }
}

Architecture bert_architecture(int64_t layers, int64_t width, int64_t heads, int64_t ffn_width,
                               int64_t max_tokens, int64_t vocabulary) {
  Architecture a;
  a.vocabulary = vocabulary;
  a.layers = layers;
  a.width = width;
  a.heads = a.kv_heads = heads;
  a.head_width = heads > 0 ? width / heads : 0;
  a.ffn_width = ffn_width;
  a.max_tokens = max_tokens;
  a.token_types = 2;
  return a;
}

Architecture encoder_architecture(int64_t layers, int64_t width, int64_t heads, int64_t ffn_width,
                                  int64_t max_tokens, int64_t vocabulary) {
  Architecture a = bert_architecture(layers, width, heads, ffn_width, max_tokens, vocabulary);
  a.norm_place = NormPlace::kBeforeBlock;
  a.position_offset = 2;
  return a;
}

Architecture decoder_architecture(int64_t layers, int64_t width, int64_t heads, int64_t kv_heads,
                                  int64_t ffn_width, int64_t max_tokens, int64_t vocabulary) {
  Architecture a = encoder_architecture(layers, width, heads, ffn_width, max_tokens, vocabulary);
  a.kind = Kind::kDecoder;
  a.positions = Positions::kRotary;
  a.norm = Norm::kRmsNorm;
  a.activation = Activation::kSwiGlu;
  a.kv_heads = kv_heads;
  a.token_types = 0;
  a.position_offset = 0;
  a.biases = a.qkv_biases = false;
  a.embedding_norm = false;
  a.norm_epsilon = 1e-5;
  return a;
}

}  // namespace fedclock::nn
