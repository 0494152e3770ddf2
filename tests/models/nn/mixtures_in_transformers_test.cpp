// Mixtures of experts in whole transformers, against stock libtorch operators and plain LoRA.
#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <torch/csrc/autograd/function.h>
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "models/nn/transformer.h"
#include "models/nn/trunk.h"
#include "tests/models/nn/random_mixtures.h"

namespace fedclock::nn {
namespace {

TEST_CASE("mixtures: in a transformer as by libtorch's operators", "[native]") {
  int64_t seen = 0;
  for (uint64_t seed = 0; seed < 35; ++seed) {
    Random random(seed, "test: mixtures in a transformer");
    Architecture a = small_decoder(1 + static_cast<int64_t>(random.below(3)), 12);
    if (random.below(2) == 0) a = encoder_architecture(a.layers, 12, 2, 20, 32, 20);
    AdapterSpec spec{.rank = 2 + static_cast<int64_t>(random.below(4)), .alpha = 4};
    spec.targets = {Target::kQ, Target::kV, Target::kO, Target::kDown};
    if (a.activation == Activation::kSwiGlu) spec.targets.push_back(Target::kGate);
    spec.top_experts = 1 + static_cast<int64_t>(random.below(3));
    if (seed >= 15) spec.router = seed < 25 ? Router::kLinear : Router::kAdaptive;
    const TensorMap weights = random_weights(a, seed);
    TensorMap state = random_state(a, spec, {1, 4, 7, 30}, random);
    // Clients differ by map; a linear router has an output for each expert.
    if (seed < 15) {
      state.erase(expert_name(layer_tensor(0, "v"), 4) + ".lora_a");
      state.erase(expert_name(layer_tensor(0, "v"), 4) + ".lora_b");
    } else {
      state.erase("layers.0.v.lora_a");  // FedALT: experts alone
      state.erase("layers.0.v.lora_b");
    }

    PackedRows packed;
    Batch batch{at::zeros({3, 9}, at::kLong), {}, at::zeros({3, 9}, at::kBool)};
    for (int64_t r = 0; r < 3; ++r) {
      std::vector<int32_t> ids;
      for (int64_t t = 0; t < 5 + 2 * r; ++t) {
        ids.push_back(static_cast<int32_t>(random.below(20)));
        batch.ids[r][t] = ids.back();
        batch.real[r][t] = true;
      }
      packed.add(ids, {});
    }
    const at::Tensor d_hidden = random_tensor({packed.tokens(), a.width}, 1, random);
    const double balance = spec.router == Router::kAdaptive ? 0 : 0.7;

    const Trunk trunk(a, weights);
    TrunkPass pass(trunk, spec, state);
    TensorMap gradients;
    for (const auto& [name, tensor] : state) {
      const bool frozen = seed >= 15 && name.find("expert.7.") != std::string::npos;
      if (!frozen) gradients[name] = at::full_like(tensor, 1e9);
    }
    const Matrix hidden = pass.layers_above(packed, 0, pass.layers_below(packed, 0), true);
    const at::Tensor fast = at::from_blob(hidden.data, {hidden.rows, hidden.columns}).clone();
    at::Tensor d = d_hidden.clone();
    pass.backward(view(d), gradients, Onto::kNothing, balance);

    TensorMap exact, exact_weights;
    std::vector<at::Tensor> inputs;
    for (const auto& [name, tensor] : weights) exact_weights[name] = tensor.to(at::kDouble);
    for (const auto& [name, tensor] : state) {
      exact[name] = tensor.to(at::kDouble).set_requires_grad(true);
      if (gradients.contains(name)) inputs.push_back(exact[name]);
    }
    Adapters adapters(a, spec, exact);
    if (balance > 0) adapters.collect_balance(batch.real);
    const at::Tensor all = Transformer(a, exact_weights).hidden(batch, adapters);
    const at::Tensor real =
        all.reshape({-1, a.width}).index({batch.real.reshape({-1})});  // [tokens, width]
    CHECK(((fast - real).norm() / real.norm()).item<double>() < 1e-5);
    at::Tensor loss = (real * d_hidden.to(at::kDouble)).sum();
    if (balance > 0) loss = loss + balance * adapters.balance();
    const auto expected = torch::autograd::grad({loss}, inputs);
    size_t i = 0;
    for (const auto& [name, gradient] : gradients) {
      INFO(seed << " " << name);
      CHECK(((gradient - expected[i]).norm() / (expected[i].norm() + 1e-6)).item<double>() < 1e-4);
      ++i;
      ++seen;
    }
  }
  CHECK(seen > 500);
}

// With one expert p is 1 and the router does not matter: y = W x + s (B_s A_s + B_0 A_0) x, which
// is LoRA with the ranks of both side by side.
TEST_CASE("mixtures: one expert equals LoRA with the sum of both adapters", "[native]") {
  Random random(5, "test: one expert");
  const Architecture a = small_decoder(2, 16);
  AdapterSpec spec{.rank = 3, .alpha = 6};
  spec.top_experts = 1;
  const TensorMap state = random_state(a, spec, {0}, random);
  AdapterSpec joint = spec;
  joint.rank = 6;
  joint.alpha = 12;  // the same scale
  TensorMap sum;
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    for (const char* target : {"q", "v"}) {
      const std::string map = layer_tensor(layer, target), expert = expert_name(map, 0);
      sum[map + ".lora_a"] =
          at::cat({state.at(map + ".lora_a"), state.at(expert + ".lora_a")}, 0).contiguous();
      sum[map + ".lora_b"] =
          at::cat({state.at(map + ".lora_b"), state.at(expert + ".lora_b")}, 1).contiguous();
    }
  }
  PackedRows packed;
  packed.add(std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7}, {});
  const Trunk trunk(a, random_weights(a, 1));
  TensorMap gradients, joint_gradients;
  const at::Tensor d_hidden = random_tensor({packed.tokens(), a.width}, 1, random);
  const auto run = [&](const AdapterSpec& of, const TensorMap& tensors, TensorMap& into) {
    for (const auto& [name, tensor] : tensors) {
      if (!name.ends_with("router")) into[name] = at::zeros_like(tensor);
    }
    TrunkPass pass(trunk, of, tensors);
    const Matrix hidden = pass.layers_above(packed, 0, pass.layers_below(packed, 0), true);
    const at::Tensor copy = at::from_blob(hidden.data, {hidden.rows, hidden.columns}).clone();
    at::Tensor d = d_hidden.clone();
    pass.backward(view(d), into);
    return copy;
  };
  const at::Tensor mixture = run(spec, state, gradients), plain = run(joint, sum, joint_gradients);
  CHECK((mixture - plain).abs().max().item<float>() < 1e-6);
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    for (const char* target : {"q", "v"}) {
      const std::string map = layer_tensor(layer, target), expert = expert_name(map, 0);
      const at::Tensor of_a = joint_gradients.at(map + ".lora_a");
      const at::Tensor of_b = joint_gradients.at(map + ".lora_b");
      CHECK(at::allclose(gradients.at(map + ".lora_a"), of_a.narrow(0, 0, 3), 1e-4, 1e-6));
      CHECK(at::allclose(gradients.at(expert + ".lora_a"), of_a.narrow(0, 3, 3), 1e-4, 1e-6));
      CHECK(at::allclose(gradients.at(map + ".lora_b"), of_b.narrow(1, 0, 3), 1e-4, 1e-6));
      CHECK(at::allclose(gradients.at(expert + ".lora_b"), of_b.narrow(1, 3, 3), 1e-4, 1e-6));
    }
  }
}

}  // namespace
}  // namespace fedclock::nn
