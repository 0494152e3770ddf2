// The fast path against stock libtorch operators, over random models, adapters and rows.
#include "models/nn/trunk.h"

#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <rapidcheck.h>
#include <torch/csrc/autograd/function.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/nn/transformer.h"

namespace fedclock::nn {
namespace {

struct Setup {
  Architecture architecture;
  AdapterSpec spec;
  TensorMap weights, adapter;
  PackedRows packed;
  Batch padded;
};

template <typename T>
T one_of(Random& random, std::vector<T> choices) {
  return choices[random.below(choices.size())];
}

Architecture random_architecture(Random& random) {
  Architecture a;
  a.kind = one_of<Kind>(random, {Kind::kEncoder, Kind::kDecoder});
  a.positions = one_of<Positions>(random, {Positions::kLearned, Positions::kRotary});
  a.norm = one_of<Norm>(random, {Norm::kLayerNorm, Norm::kRmsNorm});
  a.norm_place = one_of<NormPlace>(random, {NormPlace::kAfterBlock, NormPlace::kBeforeBlock});
  a.activation = one_of<Activation>(
      random, {Activation::kGelu, Activation::kGeluTanh, Activation::kRelu, Activation::kSwiGlu});
  a.vocabulary = 20;
  a.layers = 1 + static_cast<int64_t>(random.below(3));
  a.kv_heads = 1 + static_cast<int64_t>(random.below(2));
  a.heads = a.kv_heads * (1 + static_cast<int64_t>(random.below(2)));
  // Not below 6: a norm over two values has a gradient of nothing but rounding errors.
  a.head_width = 6 + 2 * static_cast<int64_t>(random.below(6));
  a.width = random.below(2) == 0 ? a.heads * a.head_width : a.heads * 8;
  a.ffn_width = 1 + static_cast<int64_t>(random.below(70));
  a.max_tokens = 24;
  a.position_offset =
      a.positions == Positions::kLearned ? static_cast<int64_t>(random.below(3)) : 0;
  a.token_types = static_cast<int64_t>(random.below(3));
  a.biases = random.below(2) == 0;
  a.qkv_biases = a.biases || random.below(2) == 0;
  a.embedding_norm = random.below(2) == 0;
  a.norm_epsilon = 1e-5;
  check_architecture(a);
  return a;
}

TensorMap random_tensors(const std::vector<ParameterShape>& shapes, Random& random) {
  TensorMap tensors;
  for (const auto& [name, shape] : shapes) {
    at::Tensor tensor = at::empty(shape, at::kFloat);
    const double centre = name.ends_with("norm.weight") ? 1.0 : 0.0;
    // Keeps the size of what passes through, so that many layers stay far from overflow.
    const double deviation =
        shape.size() > 1 ? 1.0 / std::sqrt(static_cast<double>(shape.back())) : 0.2;
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.data_ptr<float>()[i] = static_cast<float>(centre + deviation * random.normal());
    }
    tensors[name] = tensor;
  }
  return tensors;
}

// Adapters on random targets of random layers, with B not zero.
TensorMap some_adapters(const Architecture& a, const AdapterSpec& spec, Random& random) {
  std::vector<ParameterShape> shapes;
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    for (const Target target : spec.targets) {
      const auto shape = linear_shape(a, target);
      if (!shape || random.below(4) == 0) continue;
      const std::string name = layer_tensor(layer, target_name(target));
      shapes.push_back({name + ".lora_a", {spec.rank, shape->in}});
      shapes.push_back({name + ".lora_b", {shape->out, spec.rank}});
    }
  }
  TensorMap adapters = random_tensors(shapes, random);
  // As after some training: a tenth of the base's own outputs. With more, models of so few
  // dimensions are so steep that float32 itself is off by 1e-4.
  for (auto& [name, tensor] : adapters) {
    if (name.ends_with("_b")) tensor.mul_(0.1);
  }
  return adapters;
}

Setup random_setup(uint64_t seed) {
  Random random(seed, "test: trunk");
  Setup setup;
  setup.architecture = random_architecture(random);
  const Architecture& a = setup.architecture;
  setup.weights = random_tensors(parameter_shapes(a), random);
  setup.spec = {
      .rank = 1 + static_cast<int64_t>(random.below(9)), .alpha = 4, .dropout = 0, .targets = {}};
  for (const Target target : kAllTargets) {
    if (random.below(3) > 0) setup.spec.targets.push_back(target);
  }
  setup.adapter = some_adapters(a, setup.spec, random);
  const auto rows = 1 + static_cast<int64_t>(random.below(6));
  const bool equal = random.below(4) == 0;  // no padding at all
  setup.padded.ids = at::zeros({rows, a.max_tokens}, at::kLong);
  setup.padded.types = at::zeros({rows, a.max_tokens}, at::kLong);
  setup.padded.real = at::zeros({rows, a.max_tokens}, at::kBool);
  for (int64_t r = 0; r < rows; ++r) {
    const uint64_t tokens =
        equal ? static_cast<uint64_t>(a.max_tokens) : 1 + random.below(a.max_tokens);
    std::vector<int32_t> ids, types;
    for (uint64_t t = 0; t < tokens; ++t) {
      ids.push_back(static_cast<int32_t>(random.below(a.vocabulary)));
      types.push_back(a.token_types == 0 ? 0 : static_cast<int32_t>(random.below(a.token_types)));
      setup.padded.ids[r][static_cast<int64_t>(t)] = ids.back();
      setup.padded.types[r][static_cast<int64_t>(t)] = types.back();
      setup.padded.real[r][static_cast<int64_t>(t)] = true;
    }
    setup.packed.add(ids, types);
  }
  return setup;
}

// [rows, tokens, width] -> [real tokens, width]
at::Tensor without_padding(const at::Tensor& hidden, const at::Tensor& real) {
  return hidden.reshape({-1, hidden.size(2)}).index({real.reshape({-1})});
}

at::Tensor copy_of(const Matrix& m) {
  return at::from_blob(m.data, {m.rows, m.columns}, at::kFloat).clone();
}

double relative_distance(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / (b.norm() + 1e-12)).item<double>();
}

// The adapter tensors of the last `depth` layers, of some adapters only A or only B.
TensorMap random_choice(const Setup& setup, int64_t depth, Random& random) {
  TensorMap chosen;
  const uint64_t half = random.below(4);
  for (const auto& [name, tensor] : setup.adapter) {
    const int64_t layer = std::stoll(name.substr(std::string("layers.").size()));
    if (layer < setup.architecture.layers - depth) continue;
    if ((half == 0 && name.ends_with("_a")) || (half == 1 && name.ends_with("_b"))) continue;
    chosen[name] = tensor;
  }
  return chosen;
}

struct Passes {
  at::Tensor hidden;    // [real tokens, width]
  TensorMap gradients;  // of the chosen tensors
};

// By stock operators, in this type.
Passes reference_passes(const Setup& setup, const TensorMap& chosen, const at::Tensor& d_hidden,
                        at::ScalarType type) {
  TensorMap weights, adapter;
  for (const auto& [name, tensor] : setup.weights) weights[name] = tensor.to(type);
  std::vector<at::Tensor> inputs;
  for (const auto& [name, tensor] : setup.adapter) {
    adapter[name] = tensor.to(type).clone().set_requires_grad(chosen.contains(name));
    if (chosen.contains(name)) inputs.push_back(adapter[name]);
  }
  const Transformer model(setup.architecture, weights);
  const Adapters adapters(setup.architecture, setup.spec, adapter);
  Passes result;
  const at::Tensor hidden =
      without_padding(model.hidden(setup.padded, adapters), setup.padded.real);
  result.hidden = hidden.detach();
  if (inputs.empty()) return result;
  const auto gradients = torch::autograd::grad({(hidden * d_hidden.to(type)).sum()}, inputs);
  size_t i = 0;
  for (const auto& [name, tensor] : chosen) result.gradients[name] = gradients[i++];
  return result;
}

Passes fast_passes(const Setup& setup, const TensorMap& chosen, int64_t depth,
                   const at::Tensor& d_hidden, Precision precision = Precision::kFp32) {
  const Trunk trunk(setup.architecture, setup.weights, precision);
  TrunkPass pass(trunk, setup.spec, setup.adapter);
  Passes result;
  for (const auto& [name, tensor] : chosen) result.gradients[name] = at::full_like(tensor, 1e9);
  for (int repeat = 0; repeat < 2; ++repeat) {  // buffers are used again
    const int64_t below = setup.architecture.layers - depth;
    const Matrix stream = pass.layers_below(setup.packed, below);
    result.hidden = copy_of(pass.layers_above(setup.packed, below, stream, /*record=*/true));
    at::Tensor d = d_hidden.clone();
    pass.backward({d.data_ptr<float>(), d.size(0), d.size(1)}, result.gradients);
  }
  return result;
}

// Gradients of the fast path and of the plain one, both against the plain one in double precision.
TEST_CASE("trunk: hidden states and gradients equal those of libtorch's operators", "[native]") {
  int64_t gradients_seen = 0;
  CHECK(rc::check("random shapes, depths, ranks, targets and lengths", [&](uint64_t seed) {
    const Setup setup = random_setup(seed);
    Random random(seed, "test: wanted");
    const auto depth = 1 + static_cast<int64_t>(random.below(setup.architecture.layers));
    const TensorMap chosen = random_choice(setup, depth, random);
    const at::Tensor d_hidden = at::empty({setup.packed.tokens(), setup.architecture.width});
    for (int64_t i = 0; i < d_hidden.numel(); ++i) {
      d_hidden.data_ptr<float>()[i] = static_cast<float>(random.normal());
    }
    const Passes fast = fast_passes(setup, chosen, depth, d_hidden);
    const Passes exact = reference_passes(setup, chosen, d_hidden, at::kDouble);
    const Passes plain = reference_passes(setup, chosen, d_hidden, at::kFloat);
    RC_ASSERT(relative_distance(fast.hidden, exact.hidden) < 1e-5);
    for (const auto& [name, gradient] : fast.gradients) {
      const double error = relative_distance(gradient, exact.gradients.at(name));
      // A row of one token has no gradient in q and k but rounding errors: so four times plain's
      // own besides.
      const double allowed =
          1e-5 + 4 * relative_distance(plain.gradients.at(name), exact.gradients.at(name));
      if (!(error < allowed)) RC_FAIL(name + " is off by " + std::to_string(error));
      ++gradients_seen;
    }
  }));
  CHECK(gradients_seen > 200);
}

TEST_CASE("trunk: in bf16 the same, up to its rounding", "[native]") {
  if (!has_fast_bf16()) {
    WARN("skipped: no AMX, or kernels pinned to portable ones (FEDCLOCK_TEST_NATIVE=1 frees them)");
    return;
  }
  double worst = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Setup setup = random_setup(seed);
    Random random(seed, "test: wanted");
    const TensorMap chosen = random_choice(setup, setup.architecture.layers, random);
    const at::Tensor d_hidden = at::ones({setup.packed.tokens(), setup.architecture.width});
    const int64_t depth = setup.architecture.layers;
    const Passes rounded = fast_passes(setup, chosen, depth, d_hidden, Precision::kBf16);
    const Passes exact = fast_passes(setup, chosen, depth, d_hidden);
    INFO("seed " << seed);
    const double error = relative_distance(rounded.hidden, exact.hidden);
    CHECK(error < 0.05);  // 2^-9 a product's input, over at most 12 products
    worst = std::max(worst, error);
  }
  CHECK(worst > 1e-4);
}

TEST_CASE("bf16 products: any number of rows, written or added", "[native]") {
  if (!has_fast_bf16()) {
    WARN("skipped: no AMX, or kernels pinned to portable ones (FEDCLOCK_TEST_NATIVE=1 frees them)");
    return;
  }
  Random random(1, "test: bf16");
  Arena arena;
  for (const int64_t rows : {1, 63, 64, 65, 200, 512, 600, 1100}) {
    const int64_t k = 1 + static_cast<int64_t>(random.below(70));
    const int64_t n = 1 + static_cast<int64_t>(random.below(70));
    // Small whole numbers: exact in bf16, and their sums in float32.
    const at::Tensor x = at::randint(-8, 9, {rows, k}).to(at::kFloat);
    const at::Tensor w = at::randint(-8, 9, {k, n}).to(at::kFloat);
    const at::Tensor start = at::randint(-8, 9, {rows, n + 3}).to(at::kFloat);
    const Bf16Weights weights(ConstMatrix{w.data_ptr<float>(), k, n, n, false});
    for (const Onto onto : {Onto::kNothing, Onto::kItself}) {
      at::Tensor y = start.clone();
      weights.multiply({x.data_ptr<float>(), rows, k}, {y.data_ptr<float>(), rows, n, n + 3}, onto,
                       arena);
      at::Tensor expected = start.clone();
      at::Tensor part = expected.narrow(1, 0, n);
      part.copy_(onto == Onto::kItself ? part + at::matmul(x, w) : at::matmul(x, w));
      INFO(rows << " x " << k << " x " << n);
      CHECK(at::equal(y, expected));
    }
  }
}

TEST_CASE("trunk: adapters beside the weights and merged into them give the same", "[native]") {
  // Two tokens are applied beside, 600 are merged.
  Setup setup = random_setup(3);
  const Architecture& a = setup.architecture;
  PackedRows one, many;
  const std::vector<int32_t> ids{3, 5}, types{0, 0};
  one.add(ids, types);
  for (int copy = 0; copy < 300; ++copy) many.add(ids, types);
  const Trunk trunk(a, setup.weights);
  TrunkPass pass(trunk, setup.spec, setup.adapter);
  const at::Tensor beside = copy_of(pass.hidden(one));
  const at::Tensor merged = copy_of(pass.hidden(many));
  for (int64_t copy : {0, 150, 299}) {
    CHECK(relative_distance(merged.narrow(0, 2 * copy, 2), beside) < 1e-5);
  }
  CHECK(!setup.adapter.empty());
}

// Prompts of different lengths, then token by token, one sequence ending before the others.
TEST_CASE("trunk: with kept keys and values a decoder goes on as if it read all anew", "[native]") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Setup setup = random_setup(seed);
    Random random(seed, "test: onward");
    setup.architecture.kind = Kind::kDecoder;
    // Its head is tied, and so it has no tensors besides.
    const Trunk trunk(setup.architecture, setup.weights);
    TrunkPass pass(trunk, setup.spec, setup.adapter);
    const std::vector<size_t> lengths = {1 + random.below(8), 1 + random.below(8), 5};
    std::vector<std::vector<int32_t>> ids(3);
    Sequences past(setup.architecture, 3);
    for (int step = 0; step < 5; ++step) {
      PackedRows more, all;
      for (size_t s = 0; s < ids.size(); ++s) {
        std::vector<int32_t> next(step == 0 ? lengths[s] : step > 2 && s == 1 ? 0 : 1);
        for (int32_t& id : next) id = static_cast<int32_t>(random.below(20));
        more.add(next, std::vector<int32_t>(next.size(), 0));
        ids[s].insert(ids[s].end(), next.begin(), next.end());
        all.add(ids[s], std::vector<int32_t>(ids[s].size(), 0));
      }
      const at::Tensor onward = copy_of(pass.onward(more, past));
      const at::Tensor anew = copy_of(pass.hidden(all));
      for (int64_t s = 0; s < 3; ++s) {
        const int64_t count = more.offsets[s + 1] - more.offsets[s];
        CHECK(past.tokens(s) == all.offsets[s + 1] - all.offsets[s]);
        if (count == 0) continue;
        const at::Tensor expected = anew.narrow(0, all.offsets[s + 1] - count, count);
        CHECK(relative_distance(onward.narrow(0, more.offsets[s], count), expected) < 2e-5);
      }
    }
    PackedRows one;
    one.add(std::vector<int32_t>{1}, std::vector<int32_t>{0});
    CHECK_THROWS_AS(pass.onward(one, past), ProgrammerError);  // of one sequence, not three
  }
}

}  // namespace
}  // namespace fedclock::nn
