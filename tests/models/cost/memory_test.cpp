#include "models/cost/memory.h"

#include <catch2/catch.hpp>

#include "models/cost/presets.h"
#include "tests/models/cost/tiny.h"

using namespace fedclock::cost;
using fedclock::cost::testing::tiny_encoder;
using fedclock::cost::testing::tiny_plan;

TEST_CASE("activations are Korthikanti's at 16 bit", "[cost][unit]") {
  // s b h (34 + 5 a s / h) with s = 256, b = 8, h = 768, a = 12: 5 a s / h = 20, so 54 bytes.
  const auto bert = architecture_preset("bert-base");
  CHECK(layer_activation_bytes(bert, 8, 256, 2) == 256.0 * 8 * 768 * 54);
  // At 32 bit the masks (2 bytes, and 1 of the 5) stay: 2 + 32 x 2 = 66 and 9 a s / h = 36.
  CHECK(layer_activation_bytes(bert, 8, 256, 4) == 256.0 * 8 * 768 * 102);
}

TEST_CASE("memory of a training plan", "[cost][unit]") {
  const Memory memory = training_memory(tiny_encoder(), tiny_plan(1));
  // Embeddings 40 + 32 + 8, their norm 8; a layer 128 weights, 28 biases, 16 in norms: 172.
  CHECK(memory.weights_bytes == 4 * (88 + 2 * 172));
  // Adapters 2 x 2 (4 + 4) = 32, head (4 + 1) 3 = 15.
  CHECK(memory.adapters_bytes == 4 * 47);
  CHECK(memory.gradients_bytes == 4 * 47);
  CHECK(memory.optimizer_bytes == 2 * 4 * 47);
  // A token: 4 (16 + 8 + 8 + 16) = 192, masks 8, attention weights 2 x 3 x 9 = 54: 254, and
  // 6 x 254 = 1524; two adapters keep 2 values a token: 4 x 6 x 2 x 2 = 96.
  CHECK(memory.activations_bytes == 1524 + 96);
  // One layer in flight, the hidden state 4 x 24, the head's 6 outputs and gradients 4 x 12.
  CHECK(memory.working_bytes == 1524 + 96 + 48);
  CHECK(memory.total() == 1728 + 188 + 188 + 376 + 1620 + 1668);
}

TEST_CASE("full tuning holds gradients and moments of the weights", "[cost][unit]") {
  TrainingPlan plan = tiny_plan(2);
  plan.full_tuning = true;
  const Memory memory = training_memory(tiny_encoder(), plan);
  CHECK(memory.adapters_bytes == 4 * 15);
  CHECK(memory.gradients_bytes == 4 * (432 + 15));  // the embeddings too
  CHECK(memory.optimizer_bytes == 2 * 4 * (432 + 15));
  CHECK(memory.activations_bytes == 2 * 1524);
  plan.depth = 1;
  CHECK(training_memory(tiny_encoder(), plan).gradients_bytes == 4 * (172 + 15));
}

TEST_CASE("half precision halves all but the masks", "[cost][unit]") {
  TrainingPlan plan = tiny_plan(1);
  plan.bytes_per_element = 2;
  const Memory memory = training_memory(tiny_encoder(), plan);
  CHECK(memory.weights_bytes == 2 * 432);
  // A token: 2 x 48 + 8 + 2 x 3 x 5 = 134.
  CHECK(memory.activations_bytes == 6 * 134 + 48);
}

// Three experts of v: 3 x 2 (4 + 4) and a router of 2 x 4 parameters; each keeps A x, the router t.
TEST_CASE("memory of experts", "[cost][unit]") {
  TrainingPlan plan = tiny_plan(1);
  plan.experts[{1, fedclock::nn::Target::kV}] = 3;
  plan.top_experts = 2;
  const Memory memory = training_memory(tiny_encoder(), plan);
  CHECK(memory.adapters_bytes == 4 * (47 + 56));
  CHECK(memory.gradients_bytes == 4 * (47 + 56));
  CHECK(memory.optimizer_bytes == 2 * 4 * (47 + 56));
  CHECK(memory.activations_bytes == 1524 + 96 + 4 * 6 * (3 + 1) * 2);
}

// FedALT: a trained and a frozen pair of 2 (4 + 4) on q, a router of 2 x 4; a token keeps both A x
// and the router's two values.
TEST_CASE("memory of a frozen expert", "[cost][unit]") {
  TrainingPlan plan = tiny_plan(1);
  plan.targets = {fedclock::nn::Target::kQ};
  const Memory plain = training_memory(tiny_encoder(), plan);
  plan.shared_adapters = false;
  plan.experts[{1, fedclock::nn::Target::kQ}] = plan.frozen_experts = 1;
  plan.top_experts = 2;
  plan.router = fedclock::nn::Router::kLinear;
  const Memory memory = training_memory(tiny_encoder(), plan);
  CHECK(memory.adapters_bytes - plain.adapters_bytes == 4 * (16 + 8));
  CHECK(memory.gradients_bytes - plain.gradients_bytes == 4 * 8);
  CHECK(memory.activations_bytes - plain.activations_bytes == 4 * 6 * (2 * 2 + 2 - 2));
}

TEST_CASE("memory of two models side by side", "[cost][unit]") {
  TrainingPlan plan = tiny_plan(1);
  const Memory one = training_memory(tiny_encoder(), plan);
  plan.models = 2;
  const Memory both = training_memory(tiny_encoder(), plan);
  CHECK(both.weights_bytes == one.weights_bytes);
  CHECK(both.total() - both.weights_bytes == 2 * (one.total() - one.weights_bytes));
}

TEST_CASE("memory under a soft prompt", "[cost][unit]") {
  TrainingPlan plan = tiny_plan(0);
  plan.prompt = {.tokens = 2, .encoder = 0};
  const Memory memory = training_memory(tiny_encoder(), plan);
  // Prompt 2 x 4, head 15.
  CHECK(memory.adapters_bytes == 4 * 23);
  CHECK(memory.gradients_bytes == 4 * 23);
  // 10 tokens in rows of 5: 192, masks 8, attention weights 2 x 5 x 9 = 90: 290 a token and layer,
  // kept of both layers, and nothing of adapters.
  CHECK(memory.activations_bytes == 2 * 10 * 290);
}
