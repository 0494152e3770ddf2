// LoRA adapters in the layout of Hugging Face's PEFT (https://github.com/huggingface/peft):
// adapter_config.json and adapter_model.safetensors with the keys
//   base_model.model.<path of the module>.lora_A.weight  [rank, in]
//   base_model.model.<path of the module>.lora_B.weight  [out, rank]
//   base_model.model.classifier.{weight,bias}            the head; `score` in GPT-2 and Llama
// The module computes W x + (alpha / rank) B A x.
//
// GPT-2 keeps q, k and v in one map c_attn. Their three adapters become one of rank 3 r,
//   A = [Aq; Ak; Av],  B = diag(Bq, Bk, Bv),
// with rank_pattern and alpha_pattern 3 r and 3 alpha, which computes exactly the same; a target
// without adapter has zeros there. Read back, the blocks are taken apart again; an adapter that
// PEFT itself trained on c_attn gives q, k and v the same A.
//
// The head is fedclock's single linear map. transformers' own classes put a pooler (BERT) or a
// dense layer (RoBERTa) before theirs, and leave out the bias in GPT-2 and Llama.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "models/nn/architecture.h"
#include "models/nn/tensor_map.h"

namespace fedclock::nn {

enum class PeftTask { kSequenceClassification, kCausalLanguageModel };

struct PeftSettings {
  // Of pairs without another rank; those that have one go into rank_pattern and alpha_pattern, at
  // the same scale alpha / rank.
  int64_t rank = 0;
  double alpha = 0;
  double dropout = 0;
  std::string base_name;  // "base_model_name_or_path": a folder or a repository
  PeftTask task = PeftTask::kSequenceClassification;
};

// `adapter` holds "layers.N.<target>.lora_a" [r, in], "layers.N.<target>.lora_b" [out, r] for any
// layers and targets, of any rank r each, and "head.weight" [classes, width], "head.bias" [classes]
// or none. Which modules and layers PEFT has to transform follows from these names. Throws
// InputError when a name, a shape or half of a pair is wrong.
void write_peft_adapter(const std::filesystem::path& folder, const Architecture& architecture,
                        std::string_view model_type, const TensorMap& adapter,
                        const PeftSettings& settings);

// A soft prompt [tokens, width] as PEFT's prompt tuning has it: the key prompt_embeddings. What an
// encoder made is written, as PEFT does for P-tuning.
void write_peft_prompt(const std::filesystem::path& folder, const Architecture& architecture,
                       const at::Tensor& prompt, const PeftSettings& settings);

// The way back of adapters, with the same names. Throws InputError for a kind of adapter that
// fedclock does not compute (DoRA, rank-stabilised scaling, trained biases, ranks that differ) and
// for keys or shapes that do not fit the architecture, all at once.
TensorMap read_peft_adapter(const std::filesystem::path& folder, const Architecture& architecture,
                            std::string_view model_type);
PeftSettings read_peft_settings(const std::filesystem::path& folder);

}  // namespace fedclock::nn
