#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/common/error.h"
#include "models/nn/files.h"
#include "models/nn/hugging_face.h"
#include "models/nn/safetensors.h"
#include "tests/models/nn/folder.h"

namespace fedclock::nn {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using Json = nlohmann::ordered_json;

const fs::path kFixtures = fs::path(FEDCLOCK_SOURCE_DIR) / "tests/data/checkpoints";

void check_base(const Architecture& architecture, const TensorMap& base) {
  const auto parameters = parameter_shapes(architecture);
  CHECK(base.size() == parameters.size());
  for (const auto& [name, shape] : parameters) {
    INFO(name);
    REQUIRE(base.contains(name));
    CHECK(base.at(name).sizes() == at::IntArrayRef(shape));
    CHECK(base.at(name).is_contiguous());
  }
}

// The architecture shared by the fixtures: 2 layers of width 8, 2 heads of 4, 11 tokens.
Architecture tiny() {
  Architecture a;
  a.layers = 2;
  a.width = 8;
  a.heads = a.kv_heads = 2;
  a.head_width = 4;
  a.ffn_width = 16;
  a.vocabulary = 11;
  a.max_tokens = 12;
  return a;
}

TEST_CASE("BERT: config, prefix, gamma and beta, extras left out") {
  Architecture a;
  const TensorMap base = load_base(kFixtures / "bert", a);
  Architecture expected = tiny();
  expected.token_types = 2;
  CHECK(a == expected);
  CHECK(model_type_of(a) == "bert");
  check_base(a, base);
  const TensorMap file = read_safetensors(kFixtures / "bert/model.safetensors");
  const auto same = [&](const char* ours, const char* theirs) {
    INFO(ours);
    CHECK(at::equal(base.at(ours), file.at(theirs)));
  };
  same("embeddings.token", "bert.embeddings.word_embeddings.weight");
  same("embeddings.type", "bert.embeddings.token_type_embeddings.weight");
  same("embeddings.norm.bias", "bert.embeddings.LayerNorm.beta");
  same("layers.0.attention_norm.weight", "bert.encoder.layer.0.attention.output.LayerNorm.gamma");
  same("layers.1.ffn_norm.weight", "bert.encoder.layer.1.output.LayerNorm.gamma");
  same("layers.1.k.bias", "bert.encoder.layer.1.attention.self.key.bias");
  same("layers.1.o.weight", "bert.encoder.layer.1.attention.output.dense.weight");
  same("layers.0.up.weight", "bert.encoder.layer.0.intermediate.dense.weight");
  same("layers.0.down.weight", "bert.encoder.layer.0.output.dense.weight");
}

TEST_CASE("RoBERTa: positions begin at row 2") {
  Architecture a;
  const TensorMap base = load_base(kFixtures / "roberta", a);
  Architecture expected = tiny();
  expected.token_types = 1;
  expected.position_offset = 2;  // 14 rows hold 12 positions
  expected.norm_epsilon = 1e-5;
  CHECK(a == expected);
  CHECK(model_type_of(a) == "roberta");
  check_base(a, base);
  const TensorMap file = read_safetensors(kFixtures / "roberta/model.safetensors");
  CHECK(at::equal(base.at("embeddings.position"),
                  file.at("roberta.embeddings.position_embeddings.weight")));
  CHECK(at::equal(base.at("layers.1.v.weight"),
                  file.at("roberta.encoder.layer.1.attention.self.value.weight")));
}

TEST_CASE("GPT-2: transposed maps, and q, k, v out of one") {
  Architecture a;
  const TensorMap base = load_base(kFixtures / "gpt2", a);
  Architecture expected = tiny();
  expected.kind = Kind::kDecoder;
  expected.norm_place = NormPlace::kBeforeBlock;
  expected.activation = Activation::kGeluTanh;
  expected.embedding_norm = false;
  expected.norm_epsilon = 1e-5;
  CHECK(a == expected);
  CHECK(model_type_of(a) == "gpt2");
  check_base(a, base);
  const TensorMap file = read_safetensors(kFixtures / "gpt2/model.safetensors");
  // c_attn.weight is [8, 24]: columns 0-7 are q, 8-15 k, 16-23 v. Single values, so that a wrong
  // transposition shows.
  const at::Tensor fused = file.at("h.1.attn.c_attn.weight");
  const auto value = [](const at::Tensor& t, int64_t i, int64_t j) {
    return t[i][j].item<float>();
  };
  CHECK(value(base.at("layers.1.q.weight"), 3, 5) == value(fused, 5, 3));
  CHECK(value(base.at("layers.1.k.weight"), 3, 5) == value(fused, 5, 8 + 3));
  CHECK(value(base.at("layers.1.v.weight"), 7, 0) == value(fused, 0, 16 + 7));
  CHECK(at::equal(base.at("layers.1.k.bias"), file.at("h.1.attn.c_attn.bias").slice(0, 8, 16)));
  CHECK(at::equal(base.at("layers.0.up.weight"), file.at("h.0.mlp.c_fc.weight").t()));
  CHECK(at::equal(base.at("layers.0.o.weight"), file.at("h.0.attn.c_proj.weight").t()));
  CHECK(at::equal(base.at("layers.1.ffn_norm.weight"), file.at("h.1.ln_2.weight")));
  CHECK(at::equal(base.at("final_norm.bias"), file.at("ln_f.bias")));
}

TEST_CASE("Llama: shared keys, gate, an output head of its own") {
  Architecture a;
  const TensorMap base = load_base(kFixtures / "llama", a);
  Architecture expected = decoder_architecture(2, 8, 2, 1, 16, 12, 11);
  expected.tied_head = false;
  CHECK(a == expected);
  CHECK(model_type_of(a) == "llama");
  check_base(a, base);
  const TensorMap file = read_safetensors(kFixtures / "llama/model.safetensors");
  CHECK(at::equal(base.at("layers.1.gate.weight"), file.at("model.layers.1.mlp.gate_proj.weight")));
  CHECK(at::equal(base.at("layers.0.k.weight"), file.at("model.layers.0.self_attn.k_proj.weight")));
  CHECK(at::equal(base.at("layers.0.ffn_norm.weight"),
                  file.at("model.layers.0.post_attention_layernorm.weight")));
  CHECK(at::equal(base.at("final_norm.weight"), file.at("model.norm.weight")));
  CHECK(at::equal(base.at("lm_head.weight"), file.at("lm_head.weight")));
}

TEST_CASE("Llama 3: slowed rotary angles, tied head, 16-bit values") {
  Architecture a;
  const TensorMap base = load_base(kFixtures / "llama3", a);
  Architecture expected = decoder_architecture(2, 8, 2, 1, 16, 12, 11);
  expected.rope_theta = 100;
  expected.rope_scaling = Architecture::RopeScaling{8, 1, 4, 16};
  CHECK(a == expected);
  check_base(a, base);
  CHECK(base.at("embeddings.token").scalar_type() == at::kFloat);
}

TEST_CASE("a saved base loads as the same base, with the same bytes each time") {
  for (const char* type : {"bert", "roberta", "gpt2", "llama", "llama3"}) {
    INFO(type);
    Folder folder;
    Architecture a, b;
    const TensorMap base = load_base(kFixtures / type, a);
    save_base(folder / "one", a, base);
    const TensorMap back = load_base(folder / "one", b);
    CHECK(a == b);
    REQUIRE(back.size() == base.size());
    for (const auto& [name, tensor] : base) CHECK(at::equal(tensor, back.at(name)));
    save_base(folder / "two", b, back);
    for (const char* file : {"model.safetensors", "config.json"}) {
      CHECK(content_of(folder / "one" / file) == content_of(folder / "two" / file));
    }
    // The names and shapes of the fixture, but for its extras and old norm names.
    if (std::string(type).starts_with("llama")) {
      const TensorMap original = read_safetensors(kFixtures / type / "model.safetensors");
      const TensorMap saved = read_safetensors(folder / "one/model.safetensors");
      REQUIRE(saved.size() == original.size());
      for (const auto& [name, tensor] : original) CHECK(at::equal(tensor, saved.at(name)));
    }
  }
}

TEST_CASE("fedclock's own bases are saved as bert and llama") {
  CHECK(model_type_of(bert_architecture(2, 8, 2, 16, 12, 11)) == "bert");
  CHECK(model_type_of(decoder_architecture(2, 8, 2, 2, 16, 12, 11)) == "llama");
  Architecture odd = bert_architecture(2, 8, 2, 16, 12, 11);
  odd.norm_place = NormPlace::kBeforeBlock;
  CHECK_THROWS_WITH(model_type_of(odd), Contains("bert comes nearest"));
  odd = decoder_architecture(2, 8, 2, 2, 16, 12, 11);
  odd.qkv_biases = true;  // Llama switches o's bias together with theirs
  CHECK_THROWS_AS(model_type_of(odd), InputError);
}

// A config.json with some fields changed; null removes one.
fs::path changed(const Folder& folder, const char* type, const Json& changes) {
  Json json = Json::parse(content_of(kFixtures / type / "config.json"));
  json.merge_patch(changes);
  write_json(folder / "config.json", json);
  return folder / "config.json";
}

TEST_CASE("fields that are often left out take transformers' defaults") {
  Folder folder;
  Architecture a = read_config(changed(folder, "llama",
                                       {{"num_key_value_heads", nullptr},
                                        {"head_dim", nullptr},
                                        {"tie_word_embeddings", nullptr},
                                        {"rope_theta", nullptr},
                                        {"rms_norm_eps", nullptr}}));
  CHECK(a.kv_heads == 2);
  CHECK(a.head_width == 4);
  CHECK_FALSE(a.tied_head);
  CHECK(a.rope_theta == 10000);
  CHECK(a.norm_epsilon == 1e-6);
  a = read_config(changed(folder, "gpt2", {{"n_inner", nullptr}}));
  CHECK(a.ffn_width == 32);  // 4 x 8
  a = read_config(
      changed(folder, "bert", {{"hidden_act", "gelu_new"}, {"layer_norm_eps", nullptr}}));
  CHECK(a.activation == Activation::kGeluTanh);
  CHECK(a.norm_epsilon == 1e-12);
  // The newer way to write rotary positions.
  a = read_config(
      changed(folder, "llama",
              {{"rope_theta", nullptr},
               {"rope_parameters", {{"rope_theta", 500.0}, {"rope_type", "default"}}}}));
  CHECK(a.rope_theta == 500);
  CHECK_FALSE(a.rope_scaling.has_value());
}

TEST_CASE("a config that fedclock does not compute is refused with file, field and remedy") {
  struct Case {
    const char* type;
    Json changes;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"llama", {{"model_type", "llama_shifted_relu"}}, "\"llama_shifted_relu\" is not known: use"},
      {"llama", {{"model_type", nullptr}}, "field model_type is missing"},
      {"llama", {{"hidden_act", "shifted_relu"}}, "field hidden_act is \"shifted_relu\": fedclock"},
      {"llama",
       {{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}},
       "field rope_scaling.rope_type is \"linear\""},
      {"llama3", {{"rope_scaling", {{"factor", 0}}}}, "field rope_scaling.factor is 0"},
      {"llama3",
       {{"rope_scaling", {{"low_freq_factor", nullptr}}}},
       "field rope_scaling.low_freq_factor is missing"},
      {"llama", {{"rope_scaling", 3}}, "field rope_scaling is 3: an object"},
      {"llama", {{"num_key_value_heads", 3}}, "kv_heads 3 does not divide heads 2"},
      {"llama", {{"tie_word_embeddings", "yes"}}, "true or false"},
      {"llama", {{"quantization_config", {{"bits", 4}}}}, "field quantization_config"},
      {"bert", {{"hidden_act", "mish"}}, "field hidden_act is \"mish\""},
      {"bert", {{"hidden_size", nullptr}}, "field hidden_size is missing: take it"},
      {"bert", {{"hidden_size", 8.5}}, "field hidden_size is 8.5: a whole number"},
      {"bert", {{"hidden_size", -8}}, "field hidden_size is -8"},
      {"bert", {{"num_hidden_layers", 1000000000}}, "1000000000 layers"},
      {"bert", {{"num_attention_heads", 3}}, "field num_attention_heads is 3: it must divide"},
      {"bert", {{"num_attention_heads", 0}}, "field num_attention_heads is 0"},
      {"bert", {{"vocab_size", 0}}, "vocabulary is 0"},
      {"bert", {{"position_embedding_type", "relative_key"}}, "computes only \"absolute\""},
      {"roberta", {{"max_position_embeddings", 2}}, "max_tokens is 0"},
      {"gpt2", {{"scale_attn_by_inverse_layer_idx", true}}, "computes only false"},
      {"gpt2", {{"activation_function", 1}}, "field activation_function is 1: a string"},
  };
  Folder folder;
  for (const Case& broken : cases) {
    INFO(broken.says);
    const fs::path path = changed(folder, broken.type, broken.changes);
    CHECK_THROWS_WITH(read_config(path), Contains("config.json: ") && Contains(broken.says));
    CHECK_THROWS_AS(read_config(path), InputError);
  }
  std::ofstream(folder / "config.json") << "{\"model_type\": ";
  CHECK_THROWS_WITH(read_config(folder / "config.json"), Contains("is not JSON"));
  CHECK_THROWS_WITH(read_config(folder / "none/config.json"), Contains("no such file"));
}

TEST_CASE("all tensors that do not fit are told at once") {
  Folder folder;
  TensorMap file = read_safetensors(kFixtures / "bert/model.safetensors");
  file.erase("bert.encoder.layer.0.output.dense.bias");
  file.erase("bert.embeddings.word_embeddings.weight");
  file["bert.encoder.layer.1.output.dense.bias"] = at::zeros({9});
  file["bert.encoder.layer.1.intermediate.dense.bias"] = at::zeros({16}, at::kLong);
  file["bert.encoder.layer.2.output.dense.bias"] = at::zeros({8});
  write_safetensors(folder / "model.safetensors", file);
  changed(folder, "bert", Json::object());
  Architecture a;
  CHECK_THROWS_WITH(
      load_base(folder.path(), a),
      Contains("model.safetensors: does not fit its config.json (bert)") &&
          Contains("2 missing:\n    bert.embeddings.word_embeddings.weight\n") &&
          Contains(
              "1 not known in this model type:\n    bert.encoder.layer.2.output.dense.bias\n") &&
          Contains("2 of another shape or type:") &&
          Contains(
              "bert.encoder.layer.1.output.dense.bias is [9] of Float, expected [8] of Float"));
  CHECK(a == Architecture{});  // untouched

  fs::remove(folder / "model.safetensors");
  CHECK_THROWS_WITH(load_base(folder.path(), a), Contains("put the weights there"));
  std::ofstream(folder / "pytorch_model.bin") << "x";
  CHECK_THROWS_WITH(load_base(folder.path(), a), Contains("safe_serialization=True"));
}

TEST_CASE("a Llama with attention biases alone gets zero biases elsewhere") {
  Folder folder;
  TensorMap file = read_safetensors(kFixtures / "llama/model.safetensors");
  for (const char* layer : {"0", "1"}) {
    const std::string start = std::string("model.layers.") + layer + ".self_attn.";
    file[start + "q_proj.bias"] = at::ones({8});
    file[start + "k_proj.bias"] = at::ones({4});
    file[start + "v_proj.bias"] = at::ones({4});
    file[start + "o_proj.bias"] = at::ones({8});
  }
  write_safetensors(folder / "model.safetensors", file);
  changed(folder, "llama", {{"attention_bias", true}});
  Architecture a;
  const TensorMap base = load_base(folder.path(), a);
  check_base(a, base);
  CHECK(at::equal(base.at("layers.1.o.bias"), at::ones({8})));
  CHECK(at::equal(base.at("layers.1.down.bias"), at::zeros({8})));
  // Where the config promises the biases of the feed-forward part, they must be there.
  changed(folder, "llama", {{"attention_bias", true}, {"mlp_bias", true}});
  CHECK_THROWS_WITH(load_base(folder.path(), a), Contains("model.layers.0.mlp.gate_proj.bias"));
}

}  // namespace
}  // namespace fedclock::nn
