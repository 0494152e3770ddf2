#include "models/nn/peft.h"

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
using Json = nlohmann::json;

Architecture of_fixture(const std::string& type) {
  return read_config(fs::path(FEDCLOCK_SOURCE_DIR) / "tests/data/checkpoints" / type /
                     "config.json");
}

// Every value differs from every other, so that a mix-up shows.
struct Numbers {
  float next = 1;
  at::Tensor operator()(std::vector<int64_t> shape) {
    int64_t count = 1;
    for (int64_t extent : shape) count *= extent;
    const at::Tensor t = at::arange(count, at::kFloat).add(next).reshape(shape);
    next += static_cast<float>(count);
    return t;
  }
};

TensorMap adapter_of(const Architecture& a, std::vector<int64_t> layers,
                     std::vector<Target> targets, int64_t rank, int64_t classes) {
  Numbers numbers;
  TensorMap adapter;
  for (int64_t layer : layers) {
    for (Target target : targets) {
      const LinearShape shape = *linear_shape(a, target);
      const std::string name = layer_tensor(layer, target_name(target));
      adapter[name + ".lora_a"] = numbers({rank, shape.in});
      adapter[name + ".lora_b"] = numbers({shape.out, rank});
    }
  }
  if (classes > 0) {
    adapter["head.weight"] = numbers({classes, a.width});
    adapter["head.bias"] = numbers({classes});
  }
  return adapter;
}

const PeftSettings kSettings = {3, 6, 0.05, "some/base", PeftTask::kSequenceClassification};

std::vector<std::string> keys(const fs::path& file) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : read_safetensors(file)) names.push_back(name);
  return names;
}

void check_round_trip(const char* type, const TensorMap& adapter) {
  Folder folder;
  const Architecture a = of_fixture(type);
  write_peft_adapter(folder.path(), a, type, adapter, kSettings);
  const TensorMap back = read_peft_adapter(folder.path(), a, type);
  REQUIRE(back.size() == adapter.size());
  for (const auto& [name, tensor] : adapter) {
    INFO(name);
    REQUIRE(back.contains(name));
    CHECK(at::equal(back.at(name), tensor));
  }
  const PeftSettings settings = read_peft_settings(folder.path());
  CHECK(settings.rank == 3);
  CHECK(settings.alpha == 6);
  CHECK(settings.dropout == 0.05);
  CHECK(settings.base_name == "some/base");
  CHECK(settings.task == PeftTask::kSequenceClassification);
}

TEST_CASE("an encoder's adapter has PEFT's keys and configuration") {
  Folder folder;
  const Architecture a = of_fixture("bert");
  write_peft_adapter(folder.path(), a, "bert", adapter_of(a, {1}, {Target::kQ, Target::kV}, 3, 4),
                     kSettings);
  CHECK(keys(folder / "adapter_model.safetensors") ==
        std::vector<std::string>{
            "base_model.model.bert.encoder.layer.1.attention.self.query.lora_A.weight",
            "base_model.model.bert.encoder.layer.1.attention.self.query.lora_B.weight",
            "base_model.model.bert.encoder.layer.1.attention.self.value.lora_A.weight",
            "base_model.model.bert.encoder.layer.1.attention.self.value.lora_B.weight",
            "base_model.model.classifier.bias", "base_model.model.classifier.weight"});
  CHECK(read_json_object(folder / "adapter_config.json") == Json::parse(R"({
    "peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "some/base",
    "r": 3, "lora_alpha": 6, "lora_dropout": 0.05, "target_modules": ["query", "value"],
    "layers_to_transform": [1], "modules_to_save": ["classifier"], "rank_pattern": {},
    "alpha_pattern": {}, "fan_in_fan_out": false, "bias": "none", "inference_mode": true,
    "init_lora_weights": true})"));
}

TEST_CASE("a decoder's adapter has PEFT's keys") {
  Folder folder;
  const Architecture a = of_fixture("llama");
  PeftSettings settings = kSettings;
  settings.task = PeftTask::kCausalLanguageModel;
  write_peft_adapter(folder.path(), a, "llama", adapter_of(a, {0, 1}, {Target::kGate}, 3, 0),
                     settings);
  CHECK(keys(folder / "adapter_model.safetensors") ==
        std::vector<std::string>{"base_model.model.model.layers.0.mlp.gate_proj.lora_A.weight",
                                 "base_model.model.model.layers.0.mlp.gate_proj.lora_B.weight",
                                 "base_model.model.model.layers.1.mlp.gate_proj.lora_A.weight",
                                 "base_model.model.model.layers.1.mlp.gate_proj.lora_B.weight"});
  const Json config = read_json_object(folder / "adapter_config.json");
  CHECK(config["task_type"] == "CAUSAL_LM");
  CHECK(config["layers_to_transform"].is_null());  // all layers
  CHECK(config["modules_to_save"].is_null());
}

TEST_CASE("target_modules selects exactly the adapted maps") {
  Folder folder;
  const Architecture a = of_fixture("bert");
  const auto modules = [&](const TensorMap& adapter) {
    write_peft_adapter(folder.path(), a, "bert", adapter, kSettings);
    return read_json_object(folder / "adapter_config.json");
  };
  // PEFT matches ends of paths: "output.dense" alone would take attention.output.dense too.
  Json config = modules(adapter_of(a, {0, 1}, {Target::kDown}, 3, 0));
  CHECK(config["target_modules"] ==
        Json::parse(R"(["encoder.layer.0.output.dense", "encoder.layer.1.output.dense"])"));
  config = modules(adapter_of(a, {0, 1}, {Target::kDown, Target::kO}, 3, 0));
  CHECK(config["target_modules"] == Json::parse(R"(["attention.output.dense", "output.dense"])"));
  // Layers with different targets are named one by one.
  TensorMap uneven = adapter_of(a, {0}, {Target::kQ}, 3, 0);
  uneven.merge(adapter_of(a, {1}, {Target::kK}, 3, 0));
  config = modules(uneven);
  CHECK(config["target_modules"] == Json::parse(R"(["encoder.layer.0.attention.self.query",
                                                    "encoder.layer.1.attention.self.key"])"));
  CHECK(config["layers_to_transform"].is_null());
}

TEST_CASE("adapters come back as they were written") {
  const std::vector<Target> all = {Target::kQ, Target::kK,  Target::kV,
                                   Target::kO, Target::kUp, Target::kDown};
  for (const char* type : {"bert", "roberta", "gpt2", "llama"}) {
    INFO(type);
    const Architecture a = of_fixture(type);
    check_round_trip(type, adapter_of(a, {0, 1}, all, 3, 4));
    check_round_trip(type, adapter_of(a, {1}, {Target::kQ, Target::kV}, 3, 0));
    check_round_trip(type, adapter_of(a, {}, {}, 3, 2));  // a head alone
  }
  check_round_trip("llama", adapter_of(of_fixture("llama"), {1}, {Target::kGate}, 3, 2));
  // A fresh adapter: B is zero.
  TensorMap fresh = adapter_of(of_fixture("gpt2"), {0}, {Target::kK}, 3, 0);
  fresh["layers.0.k.lora_b"].zero_();
  check_round_trip("gpt2", fresh);
}

TEST_CASE("in GPT-2 the adapters of q, k and v are one of three times the rank") {
  Folder folder;
  const Architecture a = of_fixture("gpt2");
  const TensorMap adapter = adapter_of(a, {0}, {Target::kQ, Target::kV}, 3, 0);
  write_peft_adapter(folder.path(), a, "gpt2", adapter, kSettings);
  const Json config = read_json_object(folder / "adapter_config.json");
  CHECK(config["target_modules"] == Json::parse(R"(["c_attn"])"));
  CHECK(config["rank_pattern"] == Json::parse(R"({"attn.c_attn": 9})"));
  CHECK(config["alpha_pattern"] == Json::parse(R"({"attn.c_attn": 18})"));
  CHECK(config["fan_in_fan_out"] == true);
  const TensorMap file = read_safetensors(folder / "adapter_model.safetensors");
  const at::Tensor fused_a =
      file.at("base_model.model.transformer.h.0.attn.c_attn.lora_A.weight");  // [9, 8]
  const at::Tensor fused_b =
      file.at("base_model.model.transformer.h.0.attn.c_attn.lora_B.weight");  // [24, 9]
  // What PEFT adds to c_attn's output, 18 / 9 B A x, is what fedclock adds to q and v, 6 / 3 B A x.
  const at::Tensor change = at::matmul(fused_b, fused_a);  // [24, 8]
  const auto own = [&](const std::string& target) {
    return at::matmul(adapter.at("layers.0." + target + ".lora_b"),
                      adapter.at("layers.0." + target + ".lora_a"));
  };
  CHECK(at::equal(change.slice(0, 0, 8), own("q")));
  CHECK(at::equal(change.slice(0, 8, 16), at::zeros({8, 8})));
  CHECK(at::equal(change.slice(0, 16, 24), own("v")));
}

TEST_CASE("an adapter that PEFT trained on c_attn is shared by q, k and v") {
  Folder folder;
  const Architecture a = of_fixture("gpt2");
  Numbers numbers;
  const at::Tensor lora_a = numbers({3, 8}), lora_b = numbers({24, 3});
  // Keys of a bare GPT2Model, without "transformer.".
  write_safetensors(folder / "adapter_model.safetensors",
                    {{"base_model.model.h.1.attn.c_attn.lora_A.weight", lora_a},
                     {"base_model.model.h.1.attn.c_attn.lora_B.weight", lora_b}});
  std::ofstream(folder / "adapter_config.json")
      << R"({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 3, "lora_alpha": 6})";
  const TensorMap adapter = read_peft_adapter(folder.path(), a, "gpt2");
  REQUIRE(adapter.size() == 6);
  CHECK(at::equal(adapter.at("layers.1.k.lora_a"), lora_a));
  CHECK(at::equal(adapter.at("layers.1.k.lora_b"), lora_b.slice(0, 8, 16)));
}

TEST_CASE("adapters that do not fit are refused when written") {
  Folder folder;
  const Architecture a = of_fixture("bert");
  const auto refuses = [&](TensorMap adapter, const char* says) {
    INFO(says);
    CHECK_THROWS_WITH(write_peft_adapter(folder.path(), a, "bert", adapter, kSettings),
                      Contains(says));
  };
  TensorMap adapter = adapter_of(a, {0}, {Target::kQ}, 3, 0);
  adapter.erase("layers.0.q.lora_b");
  refuses(adapter, "layers.0.q.lora_b is missing");
  refuses({{"layers.2.q.lora_a", at::zeros({3, 8})}}, "layers.2.q.lora_a has no place");
  refuses({{"layers.0.gate.lora_a", at::zeros({3, 8})}}, "layers.0.gate.lora_a has no place");
  refuses({{"layers.00.q.lora_a", at::zeros({3, 8})}}, "layers.00.q.lora_a has no place");
  refuses({{"layers.0.q.lora_a", at::zeros({3, 9})}}, "is [3, 9] of Float, expected [3, 8]");
  refuses({{"layers.0.q.lora_a", at::zeros({3, 8})}, {"layers.0.q.lora_b", at::zeros({8, 2})}},
          "is [8, 2] of Float, expected [8, 3]");
  refuses({{"head.weight", at::zeros({4, 9})}}, "head.weight is [4, 9]");
  CHECK_THROWS_AS(write_peft_adapter(folder.path(), a, "t5", {}, kSettings), InputError);
}

TEST_CASE("adapters that fedclock does not compute are refused when read") {
  Folder folder;
  const Architecture a = of_fixture("bert");
  write_peft_adapter(folder.path(), a, "bert", adapter_of(a, {0, 1}, {Target::kQ}, 3, 2),
                     kSettings);
  const Json config = read_json_object(folder / "adapter_config.json");
  const auto refuses = [&](const Json& changes, const char* says) {
    INFO(says);
    Json other = config;
    other.merge_patch(changes);
    write_json(folder / "adapter_config.json", nlohmann::ordered_json::parse(other.dump()));
    CHECK_THROWS_WITH(read_peft_adapter(folder.path(), a, "bert"), Contains(says));
    CHECK_THROWS_AS(read_peft_adapter(folder.path(), a, "bert"), InputError);
  };
  refuses({{"peft_type", "IA3"}}, "field peft_type is \"IA3\"");
  refuses({{"use_dora", true}}, "field use_dora is true");
  refuses({{"use_rslora", true}}, "field use_rslora is true");
  refuses({{"bias", "all"}}, "field bias is \"all\"");
  refuses({{"r", 0}}, "field r is 0");
  refuses({{"lora_alpha", "much"}}, "field lora_alpha is \"much\"");
  refuses({{"task_type", "SEQ_2_SEQ_LM"}}, "use SEQ_CLS or CAUSAL_LM");
  refuses({{"rank_pattern", {{"query", 5}}}}, "field rank_pattern is {\"query\":5}");
  refuses({{"r", 4}}, "adapter_model.safetensors: adapter tensor base_model.model.bert.encoder");
  write_json(folder / "adapter_config.json", nlohmann::ordered_json::parse(config.dump()));
  Architecture shallow = a;
  shallow.layers = 1;
  CHECK_THROWS_WITH(
      read_peft_adapter(folder.path(), shallow, "bert"),
      Contains("not known in a bert of 1 layers:\n  base_model.model.bert.encoder.layer.1"));
  CHECK(read_peft_adapter(folder.path(), a, "bert").size() == 6);
}

}  // namespace
}  // namespace fedclock::nn
