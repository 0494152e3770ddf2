// Adapters whose ranks differ from layer to layer: fresh ones, what was merged as such a pair, and
// as PEFT's folders.
#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/learning/merged_base.h"
#include "models/nn/files.h"
#include "models/nn/hugging_face.h"
#include "models/nn/peft.h"
#include "models/nn/safetensors.h"
#include "tests/models/learning/deep.h"
#include "tests/models/learning/states.h"
#include "tests/models/nn/folder.h"

namespace fedclock::learning {
namespace {

TEST_CASE("a fresh adapter: a smaller rank is the first rows of a larger one") {
  const LearningTask task = deep_task();
  const auto fresh = [&](std::vector<int64_t> ranks) {
    return nn::random_adapter(task.architecture(), task.adapter, ranks, 3, 9);
  };
  const nn::TensorMap some = fresh({1, 0, 3, 2}), more = fresh({4, 4, 4, 4});
  CHECK_FALSE(some.contains("layers.1.q.lora_a"));
  CHECK(some.size() == 3 * 2 * 2 + 2);  // layers x targets x (A, B) and the head
  for (const auto& [name, tensor] : some) {
    INFO(name);
    const at::Tensor& larger = more.at(name);
    if (name.ends_with("_a")) {
      CHECK(at::equal(tensor, larger.narrow(0, 0, tensor.size(0))));
      CHECK(tensor.abs().max().item<float>() > 0);
    } else if (name.ends_with("_b")) {
      CHECK(at::equal(tensor, at::zeros({tensor.size(0), tensor.size(1)})));
    } else {
      CHECK(at::equal(tensor, larger));
    }
  }
  CHECK(some.at("layers.2.v.lora_b").size(1) == 3);
}

// What was merged beside adapters (q, v) and where there are none, in maps with out = in, out < in
// and out > in.
nn::TensorMap with_something_merged(const LearningTask& task) {
  nn::TensorMap state = trained_state(task, {3, 0, 2, 1});
  Random random(8, "test: merged");
  for (const auto& [layer, target] : {std::pair(0, nn::Target::kV),
                                      {1, nn::Target::kQ},
                                      {2, nn::Target::kDown},
                                      {2, nn::Target::kUp}}) {
    const nn::LinearShape shape = *nn::linear_shape(task.architecture(), target);
    const std::string map = nn::layer_tensor(layer, nn::target_name(target));
    nn::TensorMap pair;
    add_adapter(pair, map, 5, shape.in, shape.out, random);
    state[map + ".merged"] = (0.05 * product(pair, map)).to(at::kFloat);
  }
  return state;
}

TEST_CASE("merged as adapters: the pair's product, scaled, is what was merged", "[native]") {
  const LearningTask task = deep_task();
  const double scale = task.adapter.alpha / static_cast<double>(task.adapter.rank);
  const nn::TensorMap state = with_something_merged(task);
  const nn::TensorMap adapters = with_merged_as_adapters(state, scale);
  for (const auto& [name, tensor] : state) {
    INFO(name);
    const std::string map = name.substr(0, name.rfind('.'));
    if (!name.ends_with(".merged")) {
      if (!state.contains(map + ".merged")) CHECK(at::equal(adapters.at(name), tensor));
      continue;
    }
    CHECK_FALSE(adapters.contains(name));
    at::Tensor whole = scale * product(adapters, map);
    if (state.contains(map + ".lora_a")) whole = whole - scale * product(state, map);
    CHECK((whole - tensor).abs().max().item<double>() < 1e-6);
  }
  // The same model, without a base of its own.
  LearningTask reference = task;
  reference.trunk = nullptr;
  const auto rows = first_rows(31);
  const double expected = evaluate(with_merged(task, state), state, *task.test, *rows).loss;
  CHECK(evaluate(task, adapters, *task.test, *rows).loss == Approx(expected).epsilon(1e-5));
  CHECK(evaluate(reference, adapters, *task.test, *rows).loss == Approx(expected).epsilon(1e-5));
}

TEST_CASE("PEFT: ranks that differ are in its patterns, alpha / rank is the same for all") {
  const LearningTask task = deep_task(GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder));
  const nn::TensorMap adapters = with_merged_as_adapters(with_something_merged(task), 2);
  const nn::Folder folder;
  nn::write_peft_adapter(folder.path(), task.architecture(), nn::model_type_of(task.architecture()),
                         adapters, {.rank = 2, .alpha = 4, .dropout = 0, .base_name = "test"});
  const auto config = nn::read_json_object(folder / "adapter_config.json");
  CHECK(config["r"] == 2);
  CHECK(config["lora_alpha"] == 4);
  // As PEFT looks them up: the first key that ends the module's path; else r and lora_alpha.
  const auto found = [&](const char* pattern, const std::string& module, double otherwise) {
    for (const auto& [key, value] : config[pattern].items()) {
      if (module.ends_with("." + key)) return value.get<double>();
    }
    return otherwise;
  };
  size_t pairs = 0, other_ranks = 0;
  for (const auto& [name, tensor] : nn::read_safetensors(folder / "adapter_model.safetensors")) {
    if (!name.ends_with(".lora_A.weight")) continue;
    INFO(name);
    const std::string module = name.substr(0, name.rfind(".lora_A"));
    const double rank = found("rank_pattern", module, 2), alpha = found("alpha_pattern", module, 4);
    CHECK(rank == static_cast<double>(tensor.size(0)));
    CHECK(alpha / rank == 2);
    ++pairs;
    other_ranks += tensor.size(0) != 2;
  }
  // q and v of layers 0, 2 and 3, what was merged in 1, down and up in 2; of rank 2 are q and v
  // there.
  CHECK(pairs == 9);
  CHECK(other_ranks == 7);
  CHECK(config["rank_pattern"].size() == 7);
  CHECK(config["alpha_pattern"].size() == 7);
}

}  // namespace
}  // namespace fedclock::learning
