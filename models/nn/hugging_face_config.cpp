#include "models/nn/hugging_face_config.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "models/common/error.h"
#include "models/nn/files.h"
#include "models/nn/hugging_face.h"
#include "models/nn/hugging_face_names.h"
#include "models/nn/json_fields.h"

namespace fedclock::nn {

namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

// The fields that are one number here and there, for reading and writing.
struct SizeField {
  const char* key;
  int64_t Architecture::*member;
};
constexpr SizeField kBertSizes[] = {
    {"vocab_size", &Architecture::vocabulary},
    {"hidden_size", &Architecture::width},
    {"num_hidden_layers", &Architecture::layers},
    {"num_attention_heads", &Architecture::heads},
    {"intermediate_size", &Architecture::ffn_width},
    {"max_position_embeddings", &Architecture::max_tokens},
};
constexpr SizeField kGpt2Sizes[] = {
    {"vocab_size", &Architecture::vocabulary},  {"n_embd", &Architecture::width},
    {"n_layer", &Architecture::layers},         {"n_head", &Architecture::heads},
    {"n_positions", &Architecture::max_tokens},
};
std::span<const SizeField> size_fields(std::string_view model_type) {
  // Llama's are BERT's; RoBERTa's positions are corrected by the offset afterwards.
  return model_type == "gpt2" ? std::span<const SizeField>(kGpt2Sizes) : kBertSizes;
}

// The first name of an activation is the one written.
struct ActivationName {
  std::string_view name;
  Activation activation;
};
constexpr ActivationName kActivations[] = {
    {"gelu", Activation::kGelu},          {"gelu_new", Activation::kGeluTanh},
    {"gelu_fast", Activation::kGeluTanh}, {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"relu", Activation::kRelu},
};
std::string_view activation_name(Activation activation) {
  for (const auto& known : kActivations) {
    if (known.activation == activation) return known.name;
  }
  return "silu";
}

Activation read_activation(const JsonFields& fields, const char* key, const char* otherwise) {
  const std::string name = fields.text(key, otherwise);
  for (const auto& known : kActivations) {
    if (known.name == name) return known.activation;
  }
  fields.fail(key, fmt::format("is \"{}\"", name),
              "fedclock computes gelu, gelu_new, gelu_fast, gelu_pytorch_tanh and relu: choose "
              "another base");
}

int64_t head_width(const JsonFields& fields, const Architecture& a, const char* heads_key) {
  if (a.heads < 1 || a.width % a.heads != 0) {
    fields.fail(heads_key, fmt::format("is {}", a.heads),
                fmt::format("it must divide the width {}", a.width));
  }
  return a.width / a.heads;
}

void read_bert(const JsonFields& fields, std::string_view type, Architecture& a) {
  a.activation = read_activation(fields, "hidden_act", "gelu");
  a.token_types = fields.size("type_vocab_size", 2);
  a.norm_epsilon = fields.positive("layer_norm_eps", 1e-12);
  a.kv_heads = a.heads;
  a.head_width = head_width(fields, a, "num_attention_heads");
  if (type == "roberta-prelayernorm") a.norm_place = NormPlace::kBeforeBlock;
  if (type.starts_with("roberta")) {
    a.position_offset = fields.size("pad_token_id", 1) + 1;
    a.max_tokens -= a.position_offset;
  }
  fields.only("position_embedding_type", "absolute");
  fields.only("is_decoder", false);
  fields.only("add_cross_attention", false);
  fields.only("pruned_heads", Json::object());
}

void read_gpt2(const JsonFields& fields, Architecture& a) {
  a.kind = Kind::kDecoder;
  a.norm_place = NormPlace::kBeforeBlock;
  a.embedding_norm = false;
  a.activation = read_activation(fields, "activation_function", "gelu_new");
  a.ffn_width = fields.size("n_inner", 4 * a.width);
  a.norm_epsilon = fields.positive("layer_norm_epsilon", 1e-5);
  a.tied_head = fields.flag("tie_word_embeddings", true);
  a.kv_heads = a.heads;
  a.head_width = head_width(fields, a, "n_head");
  fields.only("scale_attn_weights", true);
  fields.only("scale_attn_by_inverse_layer_idx", false);
  fields.only("add_cross_attention", false);
}

void read_rope(const JsonFields& all, Architecture& a) {
  // Older files keep rope_theta beside rope_scaling, newer ones everything in rope_parameters.
  const bool newer = all.has("rope_parameters");
  const char* const key = newer ? "rope_parameters" : "rope_scaling";
  a.rope_theta = all.positive("rope_theta", 10000.0);
  if (!all.has(key)) return;
  const JsonFields rope = all.object(key);
  a.rope_theta = rope.positive("rope_theta", a.rope_theta);
  rope.only("partial_rotary_factor", 1.0);
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (type == "default") return;
  if (type != "llama3") {
    rope.fail("rope_type", fmt::format("is \"{}\"", type),
              "fedclock computes \"default\" and \"llama3\": choose another base");
  }
  a.rope_scaling.emplace();
  a.rope_scaling->factor = rope.positive("factor");
  a.rope_scaling->low_frequency_factor = rope.positive("low_freq_factor");
  a.rope_scaling->high_frequency_factor = rope.positive("high_freq_factor");
  a.rope_scaling->original_max_tokens = rope.positive("original_max_position_embeddings");
}

void read_llama(const JsonFields& fields, HuggingFaceConfig& config) {
  Architecture& a = config.architecture;
  a.kind = Kind::kDecoder;
  a.positions = Positions::kRotary;
  a.norm = Norm::kRmsNorm;
  a.norm_place = NormPlace::kBeforeBlock;
  a.activation = Activation::kSwiGlu;
  a.embedding_norm = false;
  a.kv_heads = fields.size("num_key_value_heads", a.heads);
  a.head_width = fields.has("head_dim") ? fields.size("head_dim")
                                        : head_width(fields, a, "num_attention_heads");
  a.norm_epsilon = fields.positive("rms_norm_eps", 1e-6);
  a.tied_head = fields.flag("tie_word_embeddings", false);
  a.qkv_biases = fields.flag("attention_bias", false);  // of q, k, v and o
  const bool ffn_biases = fields.flag("mlp_bias", false);
  a.biases = a.qkv_biases || ffn_biases;
  if (a.biases && !a.qkv_biases) config.without_bias = {Target::kO};
  if (a.biases && !ffn_biases) config.without_bias = {Target::kUp, Target::kGate, Target::kDown};
  if (const auto act = fields.text("hidden_act", "silu"); act != "silu" && act != "swish") {
    fields.fail("hidden_act", fmt::format("is \"{}\"", act),
                "fedclock computes silu in a llama: choose another base");
  }
  fields.only("partial_rotary_factor", 1.0);
  read_rope(fields, a);
}

void write_llama(const Architecture& a, nlohmann::ordered_json& json) {
  json["num_key_value_heads"] = a.kv_heads;
  json["head_dim"] = a.head_width;
  json["hidden_act"] = "silu";
  json["rms_norm_eps"] = a.norm_epsilon;
  json["rope_theta"] = a.rope_theta;
  json["rope_scaling"] = nullptr;
  if (a.rope_scaling) {
    json["rope_scaling"] = {
        {"rope_type", "llama3"},
        {"factor", a.rope_scaling->factor},
        {"low_freq_factor", a.rope_scaling->low_frequency_factor},
        {"high_freq_factor", a.rope_scaling->high_frequency_factor},
        {"original_max_position_embeddings", a.rope_scaling->original_max_tokens}};
  }
  json["attention_bias"] = a.qkv_biases;
  json["mlp_bias"] = a.biases;
  json["tie_word_embeddings"] = a.tied_head;
}

nlohmann::ordered_json written_config(const Architecture& a, const ModelNames& names) {
  nlohmann::ordered_json json;
  json["architectures"] = {names.architecture};
  json["model_type"] = names.type;
  for (const SizeField& field : size_fields(names.type)) json[field.key] = a.*field.member;
  if (names.type == "llama") {
    write_llama(a, json);
  } else if (names.type == "gpt2") {
    json["n_inner"] = a.ffn_width;
    json["activation_function"] = activation_name(a.activation);
    json["layer_norm_epsilon"] = a.norm_epsilon;
    json["tie_word_embeddings"] = a.tied_head;
  } else {
    json["hidden_act"] = activation_name(a.activation);
    json["type_vocab_size"] = a.token_types;
    json["layer_norm_eps"] = a.norm_epsilon;
    if (names.type.starts_with("roberta")) {
      json["max_position_embeddings"] = a.max_tokens + a.position_offset;
      json["pad_token_id"] = a.position_offset - 1;
    }
  }
  json["torch_dtype"] = "float32";
  return json;
}

std::string_view candidate_type(const Architecture& a) {
  if (a.positions == Positions::kRotary) return "llama";
  if (a.kind == Kind::kDecoder) return "gpt2";
  if (a.position_offset == 0) return "bert";
  return a.norm_place == NormPlace::kBeforeBlock ? "roberta-prelayernorm" : "roberta";
}

}  // namespace

HuggingFaceConfig parse_config(const fs::path& path, const Json& json) {
  const JsonFields fields(path, json);
  HuggingFaceConfig config;
  config.model_type = fields.text("model_type", "");
  if (config.model_type.empty()) {
    fields.fail("model_type", "is missing",
                "use bert, roberta, roberta-prelayernorm, gpt2 or llama");
  }
  try {
    model_names(config.model_type);
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}: {}", path.string(), error.what()));
  }
  fields.only("quantization_config", nullptr);
  for (const SizeField& field : size_fields(config.model_type)) {
    config.architecture.*field.member = fields.size(field.key);
  }
  constexpr int64_t kMostLayers = 10'000;
  if (config.architecture.layers > kMostLayers) {
    throw InputError(fmt::format("{}: {} layers: at most {} are computed", path.string(),
                                 config.architecture.layers, kMostLayers));
  }
  if (config.model_type == "llama") {
    read_llama(fields, config);
  } else if (config.model_type == "gpt2") {
    read_gpt2(fields, config.architecture);
  } else {
    read_bert(fields, config.model_type, config.architecture);
  }
  try {
    check_architecture(config.architecture);
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}: {}", path.string(), error.what()));
  }
  return config;
}

HuggingFaceConfig read_hugging_face_config(const fs::path& path) {
  return parse_config(path, read_json_object(path));
}

Architecture read_config(const fs::path& config_json) {
  return read_hugging_face_config(config_json).architecture;
}

nlohmann::ordered_json config_of(const Architecture& architecture) {
  const ModelNames& names = model_names(candidate_type(architecture));
  auto json = written_config(architecture, names);
  // What is read back is what transformers would compute: it must be this architecture.
  const auto back = parse_config("config.json", Json::parse(json.dump()));
  if (back.architecture != architecture || !back.without_bias.empty()) {
    throw InputError(fmt::format(
        "a base of this shape cannot be written in Hugging Face's layout: {} comes nearest, but "
        "differs in norms, activation, biases, heads or positions; change the base's architecture",
        names.type));
  }
  return json;
}

std::string model_type_of(const Architecture& architecture) {
  config_of(architecture);  // throws unless the candidate really describes it
  return std::string(candidate_type(architecture));
}

}  // namespace fedclock::nn
