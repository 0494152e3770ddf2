#include "models/nn/hugging_face_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "models/common/error.h"

namespace fedclock::nn {

namespace {

constexpr TensorName kBertOutside[] = {
    {"embeddings.token", "embeddings.word_embeddings.weight"},
    {"embeddings.position", "embeddings.position_embeddings.weight"},
    {"embeddings.type", "embeddings.token_type_embeddings.weight"},
    {"embeddings.norm.weight", "embeddings.LayerNorm.weight"},
    {"embeddings.norm.bias", "embeddings.LayerNorm.bias"},
    // Only where norms stand before the blocks.
    {"final_norm.weight", "LayerNorm.weight"},
    {"final_norm.bias", "LayerNorm.bias"},
};
constexpr ModuleName kBertInside[] = {
    {"attention_norm", "attention.output.LayerNorm"},
    {"q", "attention.self.query"},
    {"k", "attention.self.key"},
    {"v", "attention.self.value"},
    {"o", "attention.output.dense"},
    {"up", "intermediate.dense"},
    {"down", "output.dense"},
    {"ffn_norm", "output.LayerNorm"},
};

// RoBERTa with its norms before the blocks and one at the end (fairseq's pre-norm variant).
constexpr ModuleName kPreNormInside[] = {
    {"attention_norm", "attention.LayerNorm"},
    {"q", "attention.self.query"},
    {"k", "attention.self.key"},
    {"v", "attention.self.value"},
    {"o", "attention.output.dense"},
    {"up", "intermediate.dense"},
    {"down", "output.dense"},
    {"ffn_norm", "intermediate.LayerNorm"},
};

constexpr TensorName kGpt2Outside[] = {
    {"embeddings.token", "wte.weight"},   {"embeddings.position", "wpe.weight"},
    {"final_norm.weight", "ln_f.weight"}, {"final_norm.bias", "ln_f.bias"},
    {"lm_head.weight", "lm_head.weight"},
};
constexpr ModuleName kGpt2Inside[] = {
    {"attention_norm", "ln_1"},       {"q", "attn.c_attn", true, 0, 3},
    {"k", "attn.c_attn", true, 1, 3}, {"v", "attn.c_attn", true, 2, 3},
    {"o", "attn.c_proj", true},       {"up", "mlp.c_fc", true},
    {"down", "mlp.c_proj", true},     {"ffn_norm", "ln_2"},
};

constexpr TensorName kLlamaOutside[] = {
    {"embeddings.token", "embed_tokens.weight"},
    {"final_norm.weight", "norm.weight"},
    {"lm_head.weight", "lm_head.weight"},
};
constexpr ModuleName kLlamaInside[] = {
    {"attention_norm", "input_layernorm"},
    {"q", "self_attn.q_proj"},
    {"k", "self_attn.k_proj"},
    {"v", "self_attn.v_proj"},
    {"o", "self_attn.o_proj"},
    {"up", "mlp.up_proj"},
    {"gate", "mlp.gate_proj"},
    {"down", "mlp.down_proj"},
    {"ffn_norm", "post_attention_layernorm"},
};

constexpr ModelNames kModels[] = {
    {"bert", "BertModel", "bert.", "encoder.layer.", "classifier", kBertOutside, kBertInside},
    {"roberta", "RobertaModel", "roberta.", "encoder.layer.", "classifier", kBertOutside,
     kBertInside},
    {"roberta-prelayernorm", "RobertaPreLayerNormModel", "roberta_prelayernorm.", "encoder.layer.",
     "classifier", kBertOutside, kPreNormInside},
    {"gpt2", "GPT2LMHeadModel", "transformer.", "h.", "score", kGpt2Outside, kGpt2Inside},
    {"llama", "LlamaForCausalLM", "model.", "layers.", "score", kLlamaOutside, kLlamaInside},
};

constexpr std::string_view kHeads[] = {"cls.",        "classifier.", "lm_head.",
                                       "qa_outputs.", "score.",      "multiple_choice_head."};
constexpr std::string_view kBuffers[] = {".position_ids", ".token_type_ids", ".attn.bias",
                                         ".attn.masked_bias", ".rotary_emb.inv_freq"};

constexpr std::string_view kLayers = "layers.";

bool is_head(std::string_view name) {
  return std::any_of(std::begin(kHeads), std::end(kHeads),
                     [&](std::string_view head) { return name.starts_with(head); });
}

const ModuleName& find_module(const ModelNames& names, std::string_view ours) {
  for (const ModuleName& module : names.inside) {
    if (module.ours == ours) return module;
  }
  throw InputError(
      fmt::format("a {} model has no map \"{}\" in its layers: leave it out", names.type, ours));
}

}  // namespace

const ModelNames& model_names(std::string_view type) {
  for (const ModelNames& names : kModels) {
    if (names.type == type) return names;
  }
  throw InputError(fmt::format(
      "model_type \"{}\" is not known: use bert, roberta, roberta-prelayernorm, gpt2 or llama",
      type));
}

const ModuleName& module_name(const ModelNames& names, Target target) {
  return find_module(names, target_name(target));
}

StoredName stored_name(const ModelNames& names, const std::string& ours) {
  StoredName stored;
  if (!ours.starts_with(kLayers)) {
    for (const TensorName& tensor : names.outside) {
      if (tensor.ours == ours) stored.name = tensor.theirs;
    }
    ensure(!stored.name.empty(), "each parameter outside the layers is in the table");
  } else {  // layers.<number>.<module>.<leaf>
    const size_t number_end = ours.find('.', kLayers.size());
    const size_t leaf = ours.rfind('.');
    ensure(number_end < leaf && leaf != std::string::npos, "layers.<number>.<module>.<leaf>");
    const std::string_view text = ours;
    const ModuleName& module =
        find_module(names, text.substr(number_end + 1, leaf - number_end - 1));
    stored.transposed = module.transposed && text.substr(leaf) == ".weight";
    stored.part = module.part;
    stored.parts = module.parts;
    stored.name = fmt::format("{}{}.{}{}", names.layers,
                              text.substr(kLayers.size(), number_end - kLayers.size()),
                              module.theirs, text.substr(leaf));
  }
  for (const auto& [now, old] : {TensorName{".LayerNorm.weight", ".LayerNorm.gamma"},
                                 TensorName{".LayerNorm.bias", ".LayerNorm.beta"}}) {
    if (!stored.name.ends_with(now)) continue;
    stored.old_name = stored.name.substr(0, stored.name.size() - now.size()) + std::string(old);
  }
  return stored;
}

std::string with_prefix(std::string_view prefix, const std::string& name) {
  return is_head(name) ? name : std::string(prefix) + name;
}

bool is_extra(std::string_view name) {
  return is_head(name) || name.starts_with("pooler.") ||
         std::any_of(std::begin(kBuffers), std::end(kBuffers),
                     [&](std::string_view buffer) { return name.ends_with(buffer); });
}

}  // namespace fedclock::nn
