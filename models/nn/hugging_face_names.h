// The names of Hugging Face's tensors beside fedclock's own: one table for each model type, read in
// both directions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "models/nn/architecture.h"

namespace fedclock::nn {

// A tensor outside the layers, by its whole name.
struct TensorName {
  std::string_view ours, theirs;
};

// A module of a layer: "q" beside "attention.self.query"; its tensors are .weight and .bias.
struct ModuleName {
  std::string_view ours, theirs;
  bool transposed = false;  // GPT-2's Conv1D holds its weight as [in, out]
  int part = 0, parts = 1;  // which of the equal parts of the output dimension it is
};

struct ModelNames {
  std::string_view type;          // "model_type" of config.json
  std::string_view architecture;  // transformers' class of a base written by fedclock
  std::string_view prefix;        // before all names but the heads', in most files
  std::string_view layers;        // before the number of a layer
  std::string_view classifier;    // the classification head
  std::span<const TensorName> outside;
  std::span<const ModuleName> inside;
};

// Throws InputError that lists the known types for any other than these:
//   "bert"     encoder.layer.3.attention.self.query   classifier
//   "roberta"  encoder.layer.3.attention.self.query   classifier
//   "gpt2"     h.3.attn.c_attn                        score
//   "llama"    layers.3.self_attn.q_proj              score
const ModelNames& model_names(std::string_view type);

const ModuleName& module_name(const ModelNames& names, Target target);

// Where a parameter of parameter_shapes() is stored, by its name without the prefix.
struct StoredName {
  std::string name;
  std::string old_name;     // gamma or beta in place of a norm's weight or bias; else empty
  bool transposed = false;  // of a matrix; a bias has nothing to transpose
  int part = 0, parts = 1;
};
StoredName stored_name(const ModelNames& names, const std::string& ours);

// The name in a file: with the prefix, except for heads.
std::string with_prefix(std::string_view prefix, const std::string& name);

// Tensors of a file that a base does not need: heads, poolers, buffers. `name` has no prefix.
bool is_extra(std::string_view name);

}  // namespace fedclock::nn
