// A map's mixtures of experts: hand arithmetic, loops over tokens and experts in double precision,
// finite differences.
#include "models/nn/group_mixtures.h"

#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "models/nn/transformer.h"
#include "tests/models/nn/random_mixtures.h"

namespace fedclock::nn {
namespace {

// ------------------------------------------------------------------------------------------ loops

using Vector = std::vector<double>;
using Rows = std::vector<Vector>;

Rows rows_of(const at::Tensor& matrix) {
  Rows rows;
  for (int64_t r = 0; r < matrix.size(0); ++r) {
    const float* row = matrix.data_ptr<float>() + r * matrix.size(1);
    rows.emplace_back(row, row + matrix.size(1));
  }
  return rows;
}

double dot(const Vector& a, const Vector& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

Vector times(const Rows& matrix, const Vector& x) {
  Vector y;
  for (const Vector& row : matrix) y.push_back(dot(row, x));
  return y;
}

// One map's experts, token by token, expert by expert.
struct Loops {
  std::vector<Rows> a, b;
  Rows router;
  double scale = 1;
  size_t top = 2;
  Router kind = Router::kTokenProjection;

  Vector probabilities(const Vector& x) const {
    const Vector t = times(router, x);
    Vector p;
    if (kind == Router::kTokenProjection) {
      for (const Rows& one : a) {
        p.push_back(std::exp(dot(times(one, x), t) / std::sqrt(static_cast<double>(t.size()))));
      }
    } else {
      for (const double score : t) p.push_back(std::exp(score));
    }
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& one : p) one /= sum;
    return p;
  }

  std::vector<size_t> chosen(const Vector& p) const {
    std::vector<size_t> order(p.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) { return p[i] > p[j]; });
    order.resize(kind == Router::kAdaptive ? a.size() : std::min(top, order.size()));
    return order;
  }

  Vector output(const Vector& x) const {
    const Vector p = probabilities(x);
    const std::vector<size_t> best = chosen(p);
    double sum = 0;
    for (const size_t i : best) sum += p[i];
    Vector y(b.front().size(), 0);
    for (const size_t i : best) {
      const size_t expert = i < a.size() ? i : 0;  // the adaptive router's others are the first's
      const Vector one = times(b[expert], times(a[expert], x));
      for (size_t o = 0; o < y.size(); ++o) y[o] += scale * p[i] / sum * one[o];
    }
    return y;
  }

  double balance(const Rows& tokens) const {
    Vector mean(a.size(), 0), choices(a.size(), 0);
    for (const Vector& x : tokens) {
      const Vector p = probabilities(x);
      for (size_t i = 0; i < p.size(); ++i) mean[i] += p[i] / static_cast<double>(tokens.size());
      for (const size_t i : chosen(p)) ++choices[i];
    }
    const double all = std::accumulate(choices.begin(), choices.end(), 0.0);
    return static_cast<double>(a.size()) * dot(mean, choices) / all;
  }

  // sum d_y y + weight balance
  double loss(const Rows& tokens, const Rows& d_y, double weight) const {
    double sum = weight == 0 ? 0 : weight * balance(tokens);
    for (size_t t = 0; t < tokens.size(); ++t) sum += dot(d_y[t], output(tokens[t]));
    return sum;
  }
};

Loops loops_of(const TensorMap& state, const std::string& map, const AdapterSpec& spec) {
  Loops loops;
  for (const int32_t expert : experts_of(state, map)) {
    loops.a.push_back(rows_of(state.at(expert_name(map, expert) + ".lora_a")));
    loops.b.push_back(rows_of(state.at(expert_name(map, expert) + ".lora_b")));
  }
  loops.router = rows_of(state.at(router_name(map)));
  loops.scale = spec.alpha / static_cast<double>(spec.rank);
  loops.top = static_cast<size_t>(spec.top_experts);
  loops.kind = spec.router;
  return loops;
}

// ------------------------------------------------------------------------------- the fast mixtures

struct Fast {
  at::Tensor y, d_x;
  TensorMap gradients;
};

Fast run_fast(const MapGroup& group, const AdapterSpec& spec, const TensorMap& state,
              const at::Tensor& x, const at::Tensor& d_y, double balance) {
  const GroupMixtures mixtures(group, spec, state);
  Arena arena;
  Fast fast{at::zeros({x.size(0), group.out()}), at::zeros_like(x), {}};
  for (const auto& [name, tensor] : state) fast.gradients[name] = at::full_like(tensor, 7);
  MixtureTape tape;
  mixtures.forward(view(x), view(fast.y), arena, &tape);
  mixtures.backward(view(x), view(d_y), static_cast<float>(balance), fast.gradients, Onto::kNothing,
                    tape, arena);
  mixtures.add_input_gradient(tape, view(fast.d_x), arena);
  return fast;
}

TEST_CASE("mixtures: two experts and three tokens by hand") {
  // One-dimensional: width 1, rank 1, so that every number is a scalar. A_0 = 1, A_1 = 2, W_p = 1:
  // of token x, e = (x, 2x), t = x, s = (x^2, 2 x^2), p_1 / p_0 = exp(x^2).
  Architecture a = decoder_architecture(1, 2, 1, 1, 2, 8, 5);
  a.width = a.heads = a.kv_heads = a.head_width = 1;
  TensorMap weights;
  for (const char* map : {"q", "k", "v"}) {
    weights[layer_tensor(0, map) + ".weight"] = at::zeros({1, 1});
  }
  const MapGroup group(a, 0, {Target::kQ, Target::kK, Target::kV}, weights, Precision::kFp32);
  const auto one = [](float value) { return at::full({1, 1}, value); };
  const TensorMap state = {{"layers.0.v.expert.3.lora_a", one(1)},
                           {"layers.0.v.expert.3.lora_b", one(5)},
                           {"layers.0.v.expert.12.lora_a", one(2)},
                           {"layers.0.v.expert.12.lora_b", one(-1)},
                           {"layers.0.v.router", one(1)}};
  CHECK(experts_of(state, "layers.0.v") == std::vector<int32_t>{3, 12});
  const double ln3 = std::log(3.0);
  // Tokens 0, sqrt(ln 3), -sqrt(ln 3): p = (1/2, 1/2), (1/4, 3/4), (1/4, 3/4).
  const float x = static_cast<float>(std::sqrt(ln3));
  const at::Tensor tokens = at::tensor({0.0F, x, -x}).view({3, 1});
  const at::Tensor d_y = at::zeros({3, 3});

  AdapterSpec spec{.rank = 1, .alpha = 2, .dropout = 0, .targets = {Target::kV}, .top_experts = 2};
  // s sum p_i B_i e_i = 2 (1/4 * 5 x + 3/4 * -1 * 2 x) = -x / 2
  const Fast both = run_fast(group, spec, state, tokens, d_y, 0);
  CHECK(both.y[0][2].item<float>() == 0);
  CHECK(both.y[1][2].item<float>() == Approx(-x / 2));
  CHECK(both.y[2][2].item<float>() == Approx(x / 2));
  CHECK(both.y.narrow(1, 0, 2).abs().sum().item<float>() == 0);  // q and k have no experts

  // Of the best alone: token 0 takes the first of equals, the others expert 12: s * -1 * 2 x = -4
  // x.
  spec.top_experts = 1;
  const Fast best = run_fast(group, spec, state, tokens, d_y, 1);
  CHECK(best.y[1][2].item<float>() == Approx(-4 * x));
  CHECK(best.y[2][2].item<float>() == Approx(4 * x));
  // f = (1/3, 2/3): the loss is 2 (P_0 / 3 + 2 P_1 / 3), slopes per token 2 f / 3 = (2/9, 4/9).
  // ds_i = p_i (slope_i - sum p slope): token 1: mean = 1/18 + 1/3 = 7/18, ds = (-1/24, 1/24).
  // dW_p = sum ds_i e_i x = 2 tokens (-1/24 + 2/24) x^2 = ln 3 / 12, token 0 has e = 0.
  CHECK(best.gradients.at("layers.0.v.router").item<float>() == Approx(ln3 / 12));
  // dA_3 = sum ds_0 t x = -2 ln 3 / 24; dA_12 the opposite.
  CHECK(best.gradients.at("layers.0.v.expert.3.lora_a").item<float>() == Approx(-ln3 / 12));
  CHECK(best.gradients.at("layers.0.v.expert.12.lora_a").item<float>() == Approx(ln3 / 12));
  CHECK(best.gradients.at("layers.0.v.expert.12.lora_b").item<float>() == 0);  // d_y is 0
}

// FedLEASE: two experts, three scores, of which a token takes two; the third is the first expert's
// too. Of token 1 the scores are those of W = (ln 1, ln 2, ln 5): p = (1, 2, 5) / 8, taken are 5
// and 2, so that the first expert has 5/7. Of token -1 p = (1, 1/2, 1/5) / 1.7: taken are the first
// two, 2/3 and 1/3. With both of an expert's scores taken it has all: of token 0 the first of
// equals are taken, 1/2 each.
TEST_CASE("mixtures: an adaptive router by hand") {
  Architecture a = decoder_architecture(1, 2, 1, 1, 2, 8, 5);
  a.width = a.heads = a.kv_heads = a.head_width = 1;
  TensorMap weights;
  for (const char* map : {"q", "k", "v"}) {
    weights[layer_tensor(0, map) + ".weight"] = at::zeros({1, 1});
  }
  const MapGroup group(a, 0, {Target::kQ, Target::kK, Target::kV}, weights, Precision::kFp32);
  const auto one = [](float value) { return at::full({1, 1}, value); };
  const auto log = [](double of) { return static_cast<float>(std::log(of)); };
  TensorMap state = {{"layers.0.v.expert.0.lora_a", one(1)},
                     {"layers.0.v.expert.0.lora_b", one(5)},
                     {"layers.0.v.expert.1.lora_a", one(2)},
                     {"layers.0.v.expert.1.lora_b", one(-1)},
                     {"layers.0.v.router", at::tensor({0.0F, log(2), log(5)}).view({3, 1})}};
  const AdapterSpec spec{.rank = 1,
                         .alpha = 2,
                         .dropout = 0,
                         .targets = {Target::kV},
                         .top_experts = 1,
                         .router = Router::kAdaptive};
  const at::Tensor tokens = at::tensor({1.0F, -1.0F, 0.0F}).view({3, 1});
  at::Tensor d_y = at::zeros({3, 3});
  d_y[0][2] = 1;
  const Fast fast = run_fast(group, spec, state, tokens, d_y, 0);
  // s (w_0 5 x - w_1 2 x)
  CHECK(fast.y[0][2].item<float>() == Approx(2 * (5.0 / 7 * 5 - 2.0 / 7 * 2)));
  CHECK(fast.y[1][2].item<float>() == Approx(-2 * (2.0 / 3 * 5 - 1.0 / 3 * 2)));
  CHECK(fast.y[2][2].item<float>() == 0);
  // Of token 1: dw of the third score 2 * 5, of the second 2 * -2: w (dw - mean), and 0 of the
  // first, which was not taken.
  const double mean = (5 * 10 - 2 * 4) / 7.0;
  const at::Tensor& router = fast.gradients.at("layers.0.v.router");
  CHECK(router[0][0].item<float>() == 0);
  CHECK(router[1][0].item<float>() == Approx(2 / 7.0 * (-4 - mean)));
  CHECK(router[2][0].item<float>() == Approx(5 / 7.0 * (10 - mean)));
  // Both scores of the first expert are taken: it has the token alone, whatever their weights.
  state["layers.0.v.router"] = at::tensor({log(2), 0.0F, log(5)}).view({3, 1});
  const Fast alone = run_fast(group, spec, state, tokens.narrow(0, 0, 1).contiguous(),
                              d_y.narrow(0, 0, 1).contiguous(), 0);
  CHECK(alone.y[0][2].item<float>() == Approx(2 * 5));
  CHECK(alone.gradients.at("layers.0.v.router").abs().max().item<float>() < 1e-6F);
  CHECK(alone.gradients.at("layers.0.v.expert.1.lora_b").item<float>() == 0);
}

TEST_CASE("mixtures: outputs and gradients are those of plain loops", "[native]") {
  Random random(1, "test: mixtures");
  for (int round = 0; round < 36; ++round) {
    const Architecture a = small_decoder(1, 8);
    const TensorMap weights = random_weights(a, 1);
    const MapGroup group(a, 0, {Target::kQ, Target::kK, Target::kV}, weights, Precision::kFp32);
    AdapterSpec spec{.rank = 1 + static_cast<int64_t>(random.below(5)), .alpha = 4};
    spec.top_experts = 1 + static_cast<int64_t>(random.below(4));
    spec.router = round < 12   ? Router::kTokenProjection
                  : round < 24 ? Router::kLinear
                               : Router::kAdaptive;
    const std::vector<std::vector<int32_t>> sets = {{0}, {4, 11}, {0, 1, 2, 3, 9, 10, 21}};
    TensorMap state = random_state(a, spec, sets[round % sets.size()], random);
    const at::Tensor x = random_tensor({5, 8}, 1, random);
    const at::Tensor d_y = random_tensor({5, group.out()}, 1, random);
    const double balance = round % 2 == 0 || spec.router == Router::kAdaptive ? 0 : 3;
    const Fast fast = run_fast(group, spec, state, x, d_y, balance);
    const Rows tokens = rows_of(x);
    for (const MapGroup::Map& map : group.maps()) {
      if (map.target == Target::kK) continue;
      const std::string name = layer_tensor(0, target_name(map.target));
      const Loops loops = loops_of(state, name, spec);
      const Rows d = rows_of(d_y.narrow(1, map.first, map.out).contiguous());
      for (size_t t = 0; t < tokens.size(); ++t) {
        const Vector expected = loops.output(tokens[t]);
        for (int64_t o = 0; o < map.out; ++o) {
          CHECK(fast.y[static_cast<int64_t>(t)][map.first + o].item<float>() ==
                Approx(expected[static_cast<size_t>(o)]).margin(2e-5));
        }
      }
      // Central differences of the loops, in double precision.
      const auto check = [&](const std::string& tensor, Rows Loops::*router, size_t expert,
                             std::vector<Rows> Loops::*factor) {
        const at::Tensor& gradient = fast.gradients.at(tensor);
        for (int64_t i = 0; i < gradient.numel(); ++i) {
          const auto row = static_cast<size_t>(i / gradient.size(1));
          const auto column = static_cast<size_t>(i % gradient.size(1));
          const auto loss_at = [&](double step) {
            Loops moved = loops;
            (router != nullptr ? moved.*router : (moved.*factor)[expert])[row][column] += step;
            return moved.loss(tokens, d, balance);
          };
          const double expected = (loss_at(1e-6) - loss_at(-1e-6)) / 2e-6;
          CHECK(gradient.data_ptr<float>()[i] == Approx(expected).epsilon(1e-4).margin(1e-4));
        }
      };
      const std::vector<int32_t> experts = experts_of(state, name);
      for (size_t e = 0; e < experts.size(); ++e) {
        check(expert_name(name, experts[e]) + ".lora_a", nullptr, e, &Loops::a);
        check(expert_name(name, experts[e]) + ".lora_b", nullptr, e, &Loops::b);
      }
      check(router_name(name), &Loops::router, 0, nullptr);
    }
  }
}

}  // namespace
}  // namespace fedclock::nn
