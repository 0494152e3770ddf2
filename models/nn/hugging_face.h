// Base models in Hugging Face's folder layout: config.json and model.safetensors, for BERT
// (1810.04805), RoBERTa (1907.11692; also with its norms before the blocks), GPT-2 (Radford et
// al., 2019) and Llama (2302.13971; GQA and
// Llama 3's rotary scaling: 2407.21783). One table of names for each model type
// (hugging_face_names.h) serves loading, saving and the PEFT files. Where their layout differs from
// fedclock's:
//   GPT-2     its linear maps are stored as [in, out]; q, k and v are one map `c_attn`
//   RoBERTa   positions start at row pad_token_id + 1 of the table: position_offset
//   BERT      old files call a norm's weight and bias gamma and beta
#pragma once

#include <filesystem>
#include <string>

#include "models/nn/architecture.h"
#include "models/nn/tensor_map.h"

namespace fedclock::nn {

// The architecture in a config.json. Throws InputError with file, field, value and remedy for
// unknown model types and for features that fedclock does not compute.
Architecture read_config(const std::filesystem::path& config_json);

// Loads folder/config.json into `architecture` and returns the weights of folder/model.safetensors
// by the names and shapes of parameter_shapes(). Heads, poolers and buffers are left out. Throws
// InputError that lists all missing, unknown and misshapen tensors at once.
TensorMap load_base(const std::filesystem::path& folder, Architecture& architecture);

// Writes a base that transformers can load; the inverse of load_base. Throws InputError for an
// architecture that no model type describes.
void save_base(const std::filesystem::path& folder, const Architecture& architecture,
               const TensorMap& base);

// "bert", "roberta" and "roberta-prelayernorm" (learned positions with an offset), "gpt2" or
// "llama" (rotary positions). Throws InputError for an architecture that none of them describes.
std::string model_type_of(const Architecture& architecture);

}  // namespace fedclock::nn
