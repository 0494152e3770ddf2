#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "models/common/random.h"
#include "models/nn/files.h"
#include "models/nn/hugging_face.h"
#include "models/nn/transformer.h"

namespace fedclock::nn {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const fs::path kFixtures = fs::path(FEDCLOCK_SOURCE_DIR) / "tests/data/checkpoints";

// --- against the fixtures' own forward pass ------------------------------------------------------

// rows of numbers -> [rows, columns] int64
at::Tensor table(const Json& rows) {
  std::vector<int64_t> flat;
  for (const Json& row : rows) {
    for (const Json& value : row) flat.push_back(value.get<int64_t>());
  }
  return at::tensor(flat, at::kLong).view({static_cast<int64_t>(rows.size()), -1});
}

// Largest distance of `expected` [rows][tokens of the row][n] from actual [rows, tokens, n].
double distance(const at::Tensor& actual, const Json& expected) {
  double largest = 0;
  for (size_t r = 0; r < expected.size(); ++r) {
    std::vector<double> flat;
    for (const Json& token : expected[r]) flat.insert(flat.end(), token.begin(), token.end());
    const auto tokens = static_cast<int64_t>(expected[r].size());
    const at::Tensor row = at::tensor(flat, at::kDouble).view({tokens, actual.size(2)});
    const at::Tensor error = actual[static_cast<int64_t>(r)].narrow(0, 0, tokens) - row;
    largest = std::max(largest, error.abs().max().item<double>());
  }
  return largest;
}

TEST_CASE("transformer: the fixtures' hidden states and logits") {
  const std::string name = GENERATE("bert", "roberta", "gpt2", "llama", "llama3");
  INFO(name);
  const Json expected = read_json_object(kFixtures / name / "expected.json");
  Architecture architecture;
  const TensorMap weights = load_base(kFixtures / name, architecture);
  const Transformer model(architecture, weights);
  Batch batch{table(expected["tokens"]), {}, table(expected["mask"]).to(at::kBool)};

  at::Tensor hidden = model.hidden(batch);
  REQUIRE(hidden.sizes() == at::IntArrayRef({2, 5, 8}));
  // The second row of the encoders has two tokens of padding, which say nothing.
  CHECK(expected["hidden"][1].size() == (architecture.kind == Kind::kEncoder ? 3 : 5));
  CHECK(distance(hidden, expected["hidden"]) < 2e-6);
  if (expected.contains("token_types")) {  // all 0: the same as none at all
    batch.types = table(expected["token_types"]);
    CHECK(distance(model.hidden(batch), expected["hidden"]) < 2e-6);
  }
  if (name == "bert") {
    batch.types = table(expected["other_token_types"]);
    hidden = model.hidden(batch);
    CHECK(distance(hidden, expected["hidden_other_types"]) < 2e-6);
    CHECK(distance(hidden, expected["hidden"]) > 0.01);
  }
  if (architecture.kind == Kind::kDecoder) {
    const at::Tensor logits = model.vocabulary_scores(hidden.view({10, 8})).view({2, 5, 11});
    CHECK(distance(logits, expected["logits"]) < 2e-6);
    batch.real = at::Tensor();  // nothing is padding: the same as no mask
    CHECK(at::equal(model.hidden(batch), hidden));
  }
}

// --- small random models -------------------------------------------------------------------------

// An encoder with its norms after the blocks (BERT) and a decoder with them before (Llama).
Architecture small(Kind kind) {
  if (kind == Kind::kDecoder) return decoder_architecture(3, 8, 2, 1, 12, 10, 20);
  Architecture a = encoder_architecture(3, 8, 2, 12, 10, 20);
  a.norm_place = NormPlace::kAfterBlock;
  a.position_offset = 0;
  return a;
}

// Wide enough that attention and activations are far from linear, norms and biases not trivial.
TensorMap lively_weights(const Architecture& architecture, uint64_t seed) {
  TensorMap weights;
  Random random(seed, "test: lively weights");
  for (const auto& [name, shape] : parameter_shapes(architecture)) {
    at::Tensor tensor = at::empty(shape, at::kFloat);
    const double centre = name.ends_with("norm.weight") ? 1.0 : 0.0;
    const double deviation = shape.size() > 1 ? 0.3 : 0.1;
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.data_ptr<float>()[i] = static_cast<float>(centre + deviation * random.normal());
    }
    weights[name] = tensor;
  }
  return weights;
}

Transformer small_model(Kind kind) {
  return Transformer(small(kind), lively_weights(small(kind), 5));
}

std::vector<Target> all_targets(Kind kind) {
  std::vector<Target> targets(std::begin(kAllTargets), std::end(kAllTargets));
  if (kind == Kind::kEncoder) std::erase(targets, Target::kGate);
  return targets;
}

AdapterSpec small_spec(Kind kind) {
  return {.rank = 2, .alpha = 3, .dropout = 0, .targets = all_targets(kind)};
}

// An adapter in all layers whose B is not zero, as after some training.
TensorMap trained_adapter(const Architecture& architecture, uint64_t seed) {
  TensorMap tensors =
      random_adapter(architecture, small_spec(architecture.kind), architecture.layers, 0, seed);
  Random random(seed, "test: trained adapter");
  for (auto& [name, tensor] : tensors) {
    if (!name.ends_with("lora_b")) continue;
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.data_ptr<float>()[i] = static_cast<float>(0.4 * random.normal());
    }
  }
  return tensors;
}

TensorMap in_doubles(const TensorMap& tensors) {
  TensorMap doubles;
  for (const auto& [name, tensor] : tensors) doubles[name] = tensor.to(at::kDouble);
  return doubles;
}

// Two rows of 6 and 4 tokens.
Batch small_batch() {
  const at::Tensor ids = at::tensor({1, 7, 12, 3, 19, 5, 2, 9, 4, 11, 0, 0}, at::kLong);
  const at::Tensor real = at::tensor({1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0}, at::kLong);
  return {ids.view({2, 6}), {}, real.view({2, 6}).to(at::kBool)};
}

// A loss in which every element of both rows' pooled states has a weight of its own.
at::Tensor loss_of(const Transformer& model, const TensorMap& adapter) {
  const Batch batch = small_batch();
  const Kind kind = model.architecture().kind;
  const at::Tensor hidden =
      model.hidden(batch, Adapters(model.architecture(), small_spec(kind), adapter));
  const at::Tensor states = pooled(kind, hidden, batch.real);  // [2, 8]
  const at::Tensor weights = at::sin(at::arange(1, 17, at::kDouble)).view({2, 8});
  return (states.tanh() * weights.to(states.scalar_type())).sum();
}

void require_gradients(TensorMap& tensors) {
  for (auto& [name, tensor] : tensors) tensor.set_requires_grad(true);
}

std::vector<at::Tensor> gradients_of(const at::Tensor& loss, const TensorMap& tensors) {
  std::vector<at::Tensor> inputs;
  for (const auto& [name, tensor] : tensors) inputs.push_back(tensor);
  return torch::autograd::grad({loss}, inputs);
}

// (L(w + h) - L(w - h)) / 2h for each element w, in doubles: the error is about h^2 = 1e-10.
at::Tensor difference_quotients(const Transformer& model, TensorMap& adapter, at::Tensor tensor) {
  constexpr double kStep = 1e-5;
  at::NoGradGuard no_gradients;
  at::Tensor quotients = at::zeros_like(tensor);
  auto* values = tensor.data_ptr<double>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    const double value = values[i];
    values[i] = value + kStep;
    const auto above = loss_of(model, adapter).item<double>();
    values[i] = value - kStep;
    const auto below = loss_of(model, adapter).item<double>();
    values[i] = value;
    quotients.data_ptr<double>()[i] = (above - below) / (2 * kStep);
  }
  return quotients;
}

TEST_CASE("transformer: gradients of every adapter are the slopes of the loss") {
  const Architecture architecture =
      GENERATE(small(Kind::kEncoder), small(Kind::kDecoder),
               encoder_architecture(3, 8, 2, 12, 10, 20));  // as fedclock makes its own
  const Kind kind = architecture.kind;
  const TensorMap weights = lively_weights(architecture, 5);
  TensorMap adapter = trained_adapter(architecture, 6);
  const Transformer model(architecture, weights);
  const Transformer double_model(architecture, in_doubles(weights));
  TensorMap double_adapter = in_doubles(adapter);
  // 2 tensors for each of the targets in each of 3 layers.
  REQUIRE(adapter.size() == (kind == Kind::kEncoder ? 36 : 42));
  require_gradients(adapter);
  require_gradients(double_adapter);
  const auto single = gradients_of(loss_of(model, adapter), adapter);
  const auto exact = gradients_of(loss_of(double_model, double_adapter), double_adapter);
  size_t i = 0;
  for (auto& [name, tensor] : double_adapter) {
    INFO(name);
    const at::Tensor slopes = difference_quotients(double_model, double_adapter, tensor.detach());
    const double steepest = slopes.abs().max().item<double>();
    CHECK(steepest > 1e-4);  // every adapter matters
    CHECK((exact[i] - slopes).abs().max().item<double>() < 1e-6 * std::max(1.0, steepest));
    // What is trained is float32: the same gradient but for rounding.
    const at::Tensor rounding = single[i].to(at::kDouble) - exact[i];
    CHECK(rounding.norm().item<double>() < 1e-4 * exact[i].norm().item<double>() + 1e-7);
    ++i;
  }
}

// --- depth ---------------------------------------------------------------------------------------

struct Graph {
  size_t nodes = 0;
  std::set<const void*> leaves;  // tensors whose gradients it computes
};

// Everything that a backward pass from here would run.
Graph graph_of(const at::Tensor& loss) {
  Graph graph;
  std::set<const torch::autograd::Node*> seen;
  std::vector<const torch::autograd::Node*> open{loss.grad_fn().get()};
  while (!open.empty()) {
    const torch::autograd::Node* node = open.back();
    open.pop_back();
    if (!seen.insert(node).second) continue;
    for (const auto& edge : node->next_edges()) {
      if (edge.function) open.push_back(edge.function.get());
    }
    if (node->next_edges().empty()) graph.leaves.insert(node);
  }
  graph.nodes = seen.size();
  return graph;
}

TEST_CASE("transformer: the backward pass stops below the tuned layers") {
  const Kind kind = GENERATE(Kind::kEncoder, Kind::kDecoder);
  const Architecture architecture = small(kind);
  const TensorMap weights = lively_weights(architecture, 5);
  const Transformer model(architecture, weights);
  size_t nodes_before = 0;
  for (int64_t depth = 1; depth <= 3; ++depth) {
    INFO("depth " << depth);
    TensorMap adapter = trained_adapter(architecture, 6);
    const auto tuned = [&](const std::string& name) {
      return name >= layer_tensor(3 - depth, "");  // one digit: names sort by layer
    };
    for (auto& [name, tensor] : adapter) tensor.set_requires_grad(tuned(name));
    const at::Tensor loss = loss_of(model, adapter);
    const Graph graph = graph_of(loss);
    // A and B of each target in each tuned layer, and nothing else, has a gradient.
    CHECK(graph.leaves.size() == 2 * all_targets(kind).size() * static_cast<size_t>(depth));
    CHECK(graph.nodes > nodes_before + 30);  // a layer more costs a layer's operations more
    nodes_before = graph.nodes;
    torch::autograd::backward({loss}, {});
    for (const auto& [name, tensor] : adapter) {
      INFO(name);
      CHECK(tensor.grad().defined() == tuned(name));
      if (tuned(name)) CHECK(tensor.grad().abs().max().item<double>() > 0);
    }
    for (const auto& [name, tensor] : weights) {
      INFO(name);
      CHECK_FALSE(tensor.requires_grad());
      CHECK_FALSE(tensor.grad().defined());
    }
  }
}

// --- adapters ------------------------------------------------------------------------------------

TEST_CASE("transformer: a fresh adapter changes nothing, bit for bit") {
  const Kind kind = GENERATE(Kind::kEncoder, Kind::kDecoder);
  const Transformer model = small_model(kind);
  const Architecture& architecture = model.architecture();
  const AdapterSpec spec = small_spec(kind);
  const TensorMap fresh = random_adapter(architecture, spec, 3, 4, 9);
  CHECK(fresh.at("layers.2.q.lora_a").abs().max().item<float>() > 0.1);
  const at::Tensor without = model.hidden(small_batch());
  CHECK(at::equal(model.hidden(small_batch(), Adapters(architecture, spec, fresh)), without));
}

TEST_CASE("transformer: a fresh adapter has the last layers, within the bound, and a head") {
  const Architecture architecture = small(Kind::kDecoder);
  const AdapterSpec spec{
      .rank = 2, .alpha = 4, .dropout = 0, .targets = {Target::kK, Target::kDown}};
  const TensorMap two = random_adapter(architecture, spec, 2, 5, 9);
  // 2 layers x 2 targets x (A, B), head.weight and head.bias.
  CHECK(two.size() == 10);
  CHECK_FALSE(two.contains("layers.0.k.lora_a"));
  CHECK(two.at("layers.1.k.lora_a").sizes() == at::IntArrayRef({2, 8}));
  CHECK(two.at("layers.1.k.lora_b").sizes() == at::IntArrayRef({4, 2}));  // 1 of 2 heads: 4 wide
  CHECK(two.at("layers.2.down.lora_a").sizes() == at::IntArrayRef({2, 12}));
  CHECK(two.at("layers.2.down.lora_b").sizes() == at::IntArrayRef({8, 2}));
  CHECK(two.at("layers.2.down.lora_a").abs().max().item<double>() <= 1 / std::sqrt(12.0));
  CHECK(two.at("layers.2.down.lora_b").abs().max().item<double>() == 0);
  CHECK(two.at("head.weight").sizes() == at::IntArrayRef({5, 8}));
  CHECK(two.at("head.bias").abs().max().item<double>() == 0);
  // A deeper one begins like a shallower one; another layer or seed gives another.
  const at::Tensor& a = two.at("layers.2.k.lora_a");
  const TensorMap three = random_adapter(architecture, spec, 3, 0, 9);
  CHECK(three.size() == 12);
  CHECK(at::equal(three.at("layers.2.k.lora_a"), a));
  CHECK_FALSE(at::equal(three.at("layers.1.k.lora_a"), a));
  const TensorMap other = random_adapter(architecture, spec, 2, 5, 10);
  CHECK_FALSE(at::equal(other.at("layers.2.k.lora_a"), a));
}

TEST_CASE("transformer: an adapter is alpha / rank B A added to the weight") {
  const Kind kind = GENERATE(Kind::kEncoder, Kind::kDecoder);
  const Architecture architecture = small(kind);
  const TensorMap weights = lively_weights(architecture, 5);
  const TensorMap adapter = trained_adapter(architecture, 6);
  const AdapterSpec spec = small_spec(kind);
  const Batch batch = small_batch();
  const at::Tensor before = Transformer(architecture, weights).hidden(batch);
  for (Target target : spec.targets) {
    INFO(target_name(target));
    const std::string name = layer_tensor(1, target_name(target));
    const TensorMap one{{name + ".lora_a", adapter.at(name + ".lora_a")},
                        {name + ".lora_b", adapter.at(name + ".lora_b")}};
    TensorMap merged = weights;
    // alpha 3, rank 2
    merged[name + ".weight"] =
        weights.at(name + ".weight") +
        1.5 * at::matmul(adapter.at(name + ".lora_b"), adapter.at(name + ".lora_a"));
    const at::Tensor beside =
        Transformer(architecture, weights).hidden(batch, Adapters(architecture, spec, one));
    const at::Tensor inside = Transformer(architecture, merged).hidden(batch);
    CHECK((beside - inside).abs().max().item<double>() < 1e-5);
    CHECK((beside - before).abs().max().item<double>() > 1e-3);
  }
}

TEST_CASE("transformer: dropout acts on adapters only, by its generator alone") {
  const Transformer model = small_model(Kind::kEncoder);
  const TensorMap tensors = trained_adapter(model.architecture(), 6);
  AdapterSpec spec = small_spec(Kind::kEncoder);
  spec.dropout = 0.5;
  const auto hidden = [&](uint64_t seed) {
    Adapters adapters(model.architecture(), spec, tensors);
    adapters.enable_dropout(at::detail::createCPUGenerator(seed));
    return model.hidden(small_batch(), adapters);
  };
  CHECK(at::equal(hidden(1), hidden(1)));
  CHECK_FALSE(at::equal(hidden(1), hidden(2)));
  // Not enabled: nothing is dropped.
  const at::Tensor whole = model.hidden(
      small_batch(), Adapters(model.architecture(), small_spec(Kind::kEncoder), tensors));
  CHECK(
      at::equal(model.hidden(small_batch(), Adapters(model.architecture(), spec, tensors)), whole));

  // The mean over many draws of x dropped is x: one map, so that nothing bends it. With p = 1/2 the
  // deviation of the mean of 4000 draws is |delta's terms| / sqrt(4000), below 0.05 here.
  Adapters adapters(model.architecture(), spec, tensors);
  const at::Tensor x = at::sin(at::arange(8, at::kFloat)).view({1, 8});
  const at::Tensor exact = adapters.delta(0, Target::kQ, x);
  adapters.enable_dropout(at::detail::createCPUGenerator(3));
  const at::Tensor mean =
      adapters.delta(0, Target::kQ, x.expand({4000, 8}).contiguous()).mean(0, true);
  CHECK((mean - exact).abs().max().item<double>() < 0.05);
}

// --- what a token sees ---------------------------------------------------------------------------

TEST_CASE("transformer: padding does not change a row's pooled state") {
  const Kind kind = GENERATE(Kind::kEncoder, Kind::kDecoder);
  const Architecture architecture = small(kind);
  // Doubles, so that nothing but rounding at 1e-16 is left between the two.
  const Transformer model(architecture, in_doubles(lively_weights(architecture, 5)));
  const Batch both = small_batch();
  const at::Tensor states = pooled(kind, model.hidden(both), both.real);
  const Batch alone{both.ids.narrow(0, 1, 1).narrow(1, 0, 4), {}, {}};
  const at::Tensor state = pooled(kind, model.hidden(alone), alone.real);
  CHECK((states[1] - state[0]).abs().max().item<double>() < 1e-12);
  // What stands on the padding does not matter at all.
  Batch other = both;
  other.ids = both.ids.clone();
  other.ids[1][4] = 17;
  other.ids[1][5] = 8;
  CHECK(at::equal(pooled(kind, model.hidden(other), other.real), states));
}

TEST_CASE("transformer: a later token changes earlier states of encoders only") {
  const Kind kind = GENERATE(Kind::kEncoder, Kind::kDecoder);
  const Transformer model = small_model(kind);
  const Batch batch{small_batch().ids, {}, {}};
  Batch changed{batch.ids.clone(), {}, {}};
  changed.ids[0][4] = 6;
  const at::Tensor difference = (model.hidden(changed) - model.hidden(batch)).abs();
  CHECK(difference[0].narrow(0, 4, 2).max().item<double>() > 1e-3);
  if (kind == Kind::kDecoder) {
    CHECK(difference[0].narrow(0, 0, 4).max().item<double>() == 0);
  } else {
    CHECK(difference[0].narrow(0, 0, 4).max().item<double>() > 1e-3);
  }
  CHECK(difference[1].max().item<double>() == 0);  // nor another row's
}

TEST_CASE("transformer: random weights are those of the architecture, and of the seed alone") {
  const Architecture architecture = small(GENERATE(Kind::kEncoder, Kind::kDecoder));
  const TensorMap weights = random_weights(architecture, 5);
  CHECK(weights.size() == parameter_shapes(architecture).size());
  const TensorMap again = random_weights(architecture, 5), other = random_weights(architecture, 6);
  for (const auto& [name, shape] : parameter_shapes(architecture)) {
    INFO(name);
    CHECK(weights.at(name).sizes() == at::IntArrayRef(shape));
    CHECK(at::equal(weights.at(name), again.at(name)));
    const double spread = weights.at(name).std().item<double>();
    if (shape.size() > 1) {
      CHECK(spread > 0.01);
      CHECK(weights.at(name).mean().abs().item<double>() < spread);
      CHECK_FALSE(at::equal(weights.at(name), other.at(name)));
    } else {
      CHECK(spread == 0);
      CHECK(weights.at(name)[0].item<double>() == (name.ends_with(".bias") ? 0 : 1));
    }
  }
}

TEST_CASE("transformer: pooled states by hand") {
  // Two rows of three tokens, width 2; the second row's last token is padding.
  const at::Tensor hidden =
      at::tensor({1, 2, 3, 4, 5, 9, 10, 20, 30, 60, 7, 7}, at::kFloat).view({2, 3, 2});
  const at::Tensor real = at::tensor({1, 1, 1, 1, 1, 0}, at::kLong).view({2, 3}).to(at::kBool);
  // Means: (1 + 3 + 5) / 3, (2 + 4 + 9) / 3; (10 + 30) / 2, (20 + 60) / 2.
  CHECK(at::equal(pooled(Kind::kEncoder, hidden, real),
                  at::tensor({3, 5, 20, 40}, at::kFloat).view({2, 2})));
  CHECK(at::equal(pooled(Kind::kDecoder, hidden, real),
                  at::tensor({5, 9, 30, 60}, at::kFloat).view({2, 2})));
  // Without padding, the second row's last token counts: (10 + 30 + 7) / 3 = 15 2/3, 29.
  CHECK(at::allclose(pooled(Kind::kEncoder, hidden, {}),
                     at::tensor({3.0, 5.0, 47.0 / 3.0, 29.0}).to(at::kFloat).view({2, 2})));
  CHECK(at::equal(pooled(Kind::kDecoder, hidden, {}),
                  at::tensor({5, 9, 7, 7}, at::kFloat).view({2, 2})));
}

}  // namespace
}  // namespace fedclock::nn
