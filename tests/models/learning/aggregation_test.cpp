#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <Eigen/Dense>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "models/learning/learning_task.h"
#include "tests/models/learning/states.h"

namespace fedclock::learning {
namespace {

const std::string kQ = "layers.0.q", kV = "layers.1.v";

nn::TensorMap adapter(const std::string& map, const at::Tensor& a, const at::Tensor& b) {
  return {{map + ".lora_a", a}, {map + ".lora_b", b}};
}
nn::TensorMap with(nn::TensorMap state, const nn::TensorMap& more) {
  state.insert(more.begin(), more.end());
  return state;
}
nn::TensorMap bias(float value) { return {{"head.bias", vector({value})}}; }

// A map [6, 5] and, of some, a second one; ranks from 1 to 3.
std::vector<nn::TensorMap> random_states(uint64_t seed, size_t count) {
  Random random(seed, "test: aggregation");
  std::vector<nn::TensorMap> states(count);
  for (nn::TensorMap& state : states) {
    add_adapter(state, kQ, 1 + static_cast<int64_t>(random.below(3)), 5, 6, random);
    if (random.below(2) == 0) add_adapter(state, kV, 2, 5, 6, random);
    state["head.bias"] = vector({static_cast<float>(random.normal())});
  }
  return states;
}
std::vector<double> random_weights(uint64_t seed, size_t count) {
  Random random(seed, "test: weights");
  std::vector<double> weights;
  for (size_t i = 0; i < count; ++i) weights.push_back(1 + static_cast<double>(random.below(100)));
  return weights;
}
std::vector<const nn::TensorMap*> with_global(const nn::TensorMap& global,
                                              const std::vector<nn::TensorMap>& states) {
  std::vector<const nn::TensorMap*> inputs{&global};
  for (const nn::TensorMap& state : states) inputs.push_back(&state);
  return inputs;
}

// sum_k p_k B_k A_k over the states that hold the map, p_k = w_k / their sum [out, in].
at::Tensor mean_product(const std::vector<nn::TensorMap>& states,
                        const std::vector<double>& weights, const std::string& map) {
  at::Tensor sum = at::zeros({6, 5}, at::kDouble);
  double held = 0;
  for (size_t k = 0; k < states.size(); ++k) {
    if (!states[k].contains(map + ".lora_a")) continue;
    sum += weights[k] * product(states[k], map);
    held += weights[k];
  }
  return sum / held;
}

// --- mean of holders -----------------------------------------------------------------------------

TEST_CASE("mean of holders: by hand") {
  const nn::TensorMap global = with(adapter(kQ, matrix(1, {9, 9}), matrix(2, {9, 9})), bias(9));
  const nn::TensorMap a = with(adapter(kQ, matrix(1, {1, 2}), matrix(2, {8, 4})), bias(0));
  const nn::TensorMap b = with(adapter(kQ, matrix(1, {5, 6}), matrix(2, {0, 4})), bias(4));
  const nn::TensorMap mean = state_of(mean_of_holders({1, 3}), {&global, &a, &b});
  REQUIRE(mean.size() == 3);
  // (1 + 3 x 5) / 4, (2 + 3 x 6) / 4; 8 / 4, 4; 3 x 4 / 4
  CHECK(at::equal(mean.at(kQ + ".lora_a"), matrix(1, {4, 5})));
  CHECK(at::equal(mean.at(kQ + ".lora_b"), matrix(2, {2, 4})));
  CHECK(at::equal(mean.at("head.bias"), vector({3})));
  CHECK(at::equal(a.at("head.bias"), vector({0})));  // the inputs stay
  // One state alone is itself.
  CHECK(at::equal(state_of(mean_of_holders({7}), {&global, &b}).at(kQ + ".lora_a"),
                  b.at(kQ + ".lora_a")));
}

TEST_CASE("mean of holders: rows of A and columns of B are the mean of those who have them") {
  // Global of rank 3, states of ranks 1 and 2 with weights 1:3.
  const nn::TensorMap global =
      adapter(kQ, matrix(3, {9, 9, 9, 9, 7, 8}), matrix(2, {9, 9, 5, 9, 9, 6}));
  const nn::TensorMap a = adapter(kQ, matrix(1, {4, 8}), matrix(2, {0, 4}));
  const nn::TensorMap b = adapter(kQ, matrix(2, {8, 0, 1, 2}), matrix(2, {4, 5, 8, 6}));
  const nn::TensorMap mean = state_of(mean_of_holders({1, 3}), {&global, &a, &b});
  // First row (4 + 24) / 4, 8 / 4; the second is b's alone, the third nobody's: global's.
  CHECK(at::equal(mean.at(kQ + ".lora_a"), matrix(3, {7, 2, 1, 2, 7, 8})));
  // Columns alike: 12 / 4 and (4 + 24) / 4; 5 and 6; 5 and 6.
  CHECK(at::equal(mean.at(kQ + ".lora_b"), matrix(2, {3, 5, 5, 7, 6, 6})));
  // A state may have more than global.
  const nn::TensorMap small = adapter(kQ, matrix(1, {1, 1}), matrix(2, {1, 1}));
  CHECK(at::equal(state_of(mean_of_holders({1, 3}), {&small, &a, &b}).at(kQ + ".lora_a"),
                  matrix(2, {7, 2, 1, 2})));
}

TEST_CASE("mean of holders: what no state has, and what was merged, stays global's") {
  const nn::TensorMap global = with(with(adapter(kV, matrix(1, {1, 2}), matrix(1, {3})), bias(1)),
                                    {{kQ + ".merged", matrix(1, {5})}});
  const nn::TensorMap a =
      with(adapter(kQ, matrix(1, {1, 2}), matrix(1, {4})),
           {{kQ + ".merged", matrix(1, {6})}, {kV + ".merged", matrix(1, {6})}});
  const nn::TensorMap b = bias(5);
  const nn::TensorMap mean = state_of(mean_of_holders({1, 3}), {&global, &a, &b});
  CHECK(names_in(mean) == std::vector<std::string>{"head.bias", kQ + ".lora_a", kQ + ".lora_b",
                                                   kQ + ".merged", kV + ".lora_a", kV + ".lora_b"});
  CHECK(at::equal(mean.at(kV + ".lora_a"), matrix(1, {1, 2})));
  CHECK(at::equal(mean.at(kQ + ".lora_a"), matrix(1, {1, 2})));  // a's alone, at whatever weight
  CHECK(mean.at("head.bias").item<float>() == 5);                // b's alone
  CHECK(mean.at(kQ + ".merged").item<float>() == 5);
}

TEST_CASE("mean of holders: sums in double precision, in the order of the states") {
  // 2^25 + 1 - 2^25: in floats, 2^25 + 1 is 2^25 and the sum 0. A quarter of each: 0.25.
  const nn::TensorMap a = bias(33554432.F), b = bias(1), c = bias(-33554432.F), d = bias(0);
  CHECK(
      state_of(mean_of_holders({1, 1, 1, 1}), {&a, &a, &b, &c, &d}).at("head.bias").item<float>() ==
      0.25F);
  // The bits of sum_i (w_i / w) theta_i.
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Random random(seed, "test: equal shapes");
    std::vector<nn::TensorMap> states(3);
    for (nn::TensorMap& state : states) add_adapter(state, kQ, 2, 5, 6, random);
    const auto weights = random_weights(seed, 3);
    const nn::TensorMap mean = state_of(mean_of_holders(weights), with_global({}, states));
    for (const auto& [name, tensor] : mean) {
      at::Tensor sum = at::zeros(tensor.sizes(), at::kDouble);
      for (size_t i = 0; i < 3; ++i) {
        sum += (weights[i] / (weights[0] + weights[1] + weights[2])) *
               states[i].at(name).to(at::kDouble);
      }
      CHECK(at::equal(tensor, sum.to(at::kFloat)));
    }
  }
}

TEST_CASE("aggregation: states that do not fit are refused") {
  const nn::TensorMap none, a{{"head.bias", vector({1, 2})}}, b{{"head.bias", vector({1, 2, 3})}};
  const nn::TensorMap q = adapter(kQ, matrix(1, {1, 2}), matrix(1, {1}));
  const nn::TensorMap wide = adapter(kQ, matrix(1, {1, 2, 3}), matrix(1, {1}));
  for (const auto& function : {mean_of_holders, zero_padded, svd_refactored}) {
    CHECK_THROWS_AS(state_of(function({1, 1}), {&none, &a, &b}), ProgrammerError);
    CHECK_THROWS_AS(state_of(function({1, 1}), {&none, &q, &wide}), ProgrammerError);
    CHECK_THROWS_AS(state_of(function({1}), {&none, &a, &a}), ProgrammerError);
    CHECK_THROWS_AS(state_of(function({}), {&none}), ProgrammerError);
    CHECK_THROWS_AS(function({1, 0}), ProgrammerError);
  }
  const nn::TensorMap half{{kQ + ".lora_b", matrix(1, {1})}};
  CHECK_THROWS_AS(state_of(zero_padded({1}), {&q, &half}), ProgrammerError);
  CHECK_THROWS_AS(state_of(svd_refactored({1}), {&q, &half}), ProgrammerError);
}

// --- zero-padded ---------------------------------------------------------------------------------

TEST_CASE("zero-padded: weights are the norms of the products") {
  // Products (3 4 / 0 0) and (9 0 / 0 12): norms 5 and 15, so p = 1/4 and 3/4 at any weights.
  const nn::TensorMap a = with(adapter(kQ, matrix(1, {3, 4}), matrix(2, {1, 0})), bias(0));
  const nn::TensorMap b =
      with(adapter(kQ, matrix(2, {1, 0, 0, 1}), matrix(2, {9, 0, 0, 12})), bias(4));
  const nn::TensorMap global = adapter(kQ, at::ones({3, 2}), at::ones({2, 3}));
  const nn::TensorMap merged = state_of(zero_padded({3, 1}), {&global, &a, &b});
  // A: (3 4) / 4 + 3/4 (1 0), 3/4 (0 1), and of global's rank 3 nobody's third row: 0.
  CHECK(at::equal(merged.at(kQ + ".lora_a"), matrix(3, {1.5, 1, 0, 0.75, 0, 0})));
  // B: 1/4 + 27/4, 36/4.
  CHECK(at::equal(merged.at(kQ + ".lora_b"), matrix(2, {7, 0, 0, 0, 9, 0})));
  CHECK(merged.at("head.bias").item<float>() == 1);  // by the weights
}

TEST_CASE("zero-padded: the norm is over all adapters, a tensor over those who have it") {
  // Norms sqrt(9 + 16) and 5: one half each. Only the first has layer 1.
  const nn::TensorMap a = with(adapter(kQ, matrix(1, {3}), matrix(1, {1})),
                               adapter(kV, matrix(1, {2}), matrix(1, {2})));
  const nn::TensorMap b = adapter(kQ, matrix(1, {1}), matrix(1, {5})), none;
  const nn::TensorMap merged = state_of(zero_padded({1, 3}), {&none, &a, &b});
  CHECK(merged.at(kQ + ".lora_a").item<float>() == 2);
  CHECK(merged.at(kQ + ".lora_b").item<float>() == 3);
  CHECK(merged.at(kV + ".lora_a").item<float>() == 2);
  CHECK(merged.at(kV + ".lora_b").item<float>() == 2);
}

TEST_CASE("zero-padded: products of zero are merged by their weights") {
  const nn::TensorMap a = adapter(kQ, matrix(1, {4}), matrix(1, {0})), none;
  const nn::TensorMap b = adapter(kQ, matrix(2, {8, 8}), matrix(1, {0, 0}));
  const nn::TensorMap merged = state_of(zero_padded({1, 3}), {&none, &a, &b});
  CHECK(at::equal(merged.at(kQ + ".lora_a"), matrix(2, {7, 6})));
  CHECK(at::equal(merged.at(kQ + ".lora_b"), matrix(1, {0, 0})));
}

TEST_CASE("tail norm: by hand") {
  // Layer 0 of rank 3, keep 1: ||B[:, 1:]|| = sqrt(3^2 + 4^2), ||A[1:, :]|| = sqrt(4 x 1).
  const nn::TensorMap state =
      with(adapter(kQ, matrix(3, {9, 9, 1, 1, 1, 1}), matrix(2, {9, 3, 0, 9, 0, 4})),
           adapter(kV, matrix(2, {9, 0, 0, 2}), matrix(1, {9, 7})));
  // 5 x 2 + 7 x 2
  CHECK(apply(tail_norm(1), {&state}).numbers == std::vector<double>{24});
  CHECK(apply(tail_norm(2), {&state}).numbers == std::vector<double>{4 * std::sqrt(2.0)});
  CHECK(apply(tail_norm(3), {&state}).numbers == std::vector<double>{0});
  CHECK(apply(tail_norm(0), {&state}).numbers.at(0) > 24);
  CHECK(apply(tail_norm(1), {&state}).tensors.empty());
}

// --- SVD-refactored ------------------------------------------------------------------------------

TEST_CASE("SVD-refactored: by hand") {
  // 1/4 (0 4 / 0 0) + 3/4 (0 0 / -4 0) = (0 1 / -3 0): singular values 3 and 1 with v = (1 0) and
  // (0 1), so that A is the identity and B has the columns (0 -3) and (1 0).
  const nn::TensorMap a = with(adapter(kQ, matrix(1, {0, -4}), matrix(2, {-1, 0})), bias(0));
  const nn::TensorMap b = with(adapter(kQ, matrix(1, {-1, 0}), matrix(2, {0, 4})), bias(4));
  const nn::TensorMap global = adapter(kV, matrix(1, {1}), matrix(1, {2}));
  const nn::TensorMap merged = state_of(svd_refactored({1, 3}), {&global, &a, &b});
  REQUIRE(merged.size() == 5);
  check_values(merged.at(kQ + ".lora_a"), {1, 0, 0, 1});
  check_values(merged.at(kQ + ".lora_b"), {0, 1, -3, 0});
  check_values(merged.at("head.bias"), {3});
  CHECK(at::equal(merged.at(kV + ".lora_a"), matrix(1, {1})));
}

// -> the matrix' best approximation of that rank
Eigen::MatrixXd best_of_rank(const at::Tensor& matrix, int64_t rank) {
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::MatrixXd dense =
      Eigen::Map<const RowMajor>(matrix.data_ptr<double>(), matrix.size(0), matrix.size(1));
  const Eigen::JacobiSVD<Eigen::MatrixXd> svd(dense, Eigen::ComputeThinU | Eigen::ComputeThinV);
  return svd.matrixU().leftCols(rank) * svd.singularValues().head(rank).asDiagonal() *
         svd.matrixV().leftCols(rank).transpose();
}

TEST_CASE("SVD-refactored: the exact mean of the products; its first rows its best approximation") {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    const size_t count = 1 + seed % 4;
    INFO("seed " << seed);
    const auto states = random_states(seed, count);
    const auto weights = random_weights(seed, count);
    const nn::TensorMap merged = state_of(svd_refactored(weights), with_global({}, states));
    for (const std::string& map : {kQ, kV}) {
      int64_t ranks = 0;
      for (const nn::TensorMap& state : states) {
        if (state.contains(map + ".lora_a")) ranks += state.at(map + ".lora_a").size(0);
      }
      REQUIRE(merged.contains(map + ".lora_a") == (ranks > 0));
      if (ranks == 0) continue;
      const at::Tensor& a = merged.at(map + ".lora_a");
      const at::Tensor& b = merged.at(map + ".lora_b");
      REQUIRE(a.size(0) == std::min<int64_t>(5, ranks));
      const at::Tensor exact = mean_product(states, weights, map);
      CHECK(relative_difference(product(merged, map), exact) < 1e-6);
      const at::Tensor sizes = b.norm(2, {0});  // of B's columns: the singular values
      for (int64_t r = 0; r < a.size(0); ++r) {
        CHECK(a[r].norm().item<double>() == Approx(1).epsilon(1e-6));
        CHECK(a[r][a[r].abs().argmax()].item<double>() > 0);
        if (r > 0) CHECK(sizes[r].item<float>() <= sizes[r - 1].item<float>());
        Share share;
        share.ranks = {r + 1, r + 1};
        const nn::TensorMap cut = state_of(tailored(share), {&merged});
        const at::Tensor kept = product(cut, map);
        const Eigen::MatrixXd best = best_of_rank(exact, r + 1);
        double distance = 0;
        for (int64_t o = 0; o < 6; ++o) {
          for (int64_t i = 0; i < 5; ++i) {
            distance += std::pow(kept[o][i].item<double>() - best(o, i), 2);
          }
        }
        CHECK(std::sqrt(distance) < 1e-5 * best.norm());
      }
    }
  }
}

TEST_CASE("SVD-refactored: many ranks, equal states and products of zero") {
  for (const int64_t width : {20, 70}) {
    Random random(static_cast<uint64_t>(width), "test: wide");
    nn::TensorMap one;
    add_adapter(one, kQ, 12, width, 2 * width, random);
    nn::TensorMap untrained = one;
    untrained[kQ + ".lora_b"] = at::zeros({2 * width, 12});
    // Four times the same: 48 ranks of which 12 are real.
    const std::vector<nn::TensorMap> states{one, one, one, one};
    const nn::TensorMap merged = state_of(svd_refactored({1, 2, 3, 4}), with_global(one, states));
    CHECK(merged.at(kQ + ".lora_a").size(0) == std::min<int64_t>(width, 48));
    CHECK(relative_difference(product(merged, kQ), product(one, kQ)) < 1e-6);
    Share share;
    share.ranks = {12};
    const nn::TensorMap cut = state_of(tailored(share), {&merged});
    CHECK(relative_difference(product(cut, kQ), product(one, kQ)) < 1e-6);
    const nn::TensorMap zero = state_of(svd_refactored({1, 1}), {&one, &untrained, &untrained});
    CHECK(zero.at(kQ + ".lora_b").abs().max().item<float>() == 0);
    CHECK(at::isfinite(zero.at(kQ + ".lora_a")).all().item<bool>());
  }
}

TEST_CASE("SVD-refactored: a training that diverged gives no numbers, and no crash") {
  const nn::TensorMap bad = adapter(kQ, matrix(1, {NAN, 1}), matrix(2, {1, 1}));
  const nn::TensorMap merged = state_of(svd_refactored({1}), {&bad, &bad});
  CHECK(at::isnan(merged.at(kQ + ".lora_a")).all().item<bool>());
}

// --- stacked -------------------------------------------------------------------------------------

LearningTask task_of_scale_2() {
  LearningTask task;
  task.adapter = {.rank = 4, .alpha = 8, .dropout = 0, .targets = {}};
  return task;
}

TEST_CASE("stacked: by hand") {
  const LearningTask task = task_of_scale_2();
  const nn::TensorMap fresh = adapter(kQ, matrix(1, {5, 5}), matrix(2, {0, 0}));
  const nn::TensorMap global =
      with(with(adapter(kQ, matrix(1, {1, 1}), matrix(2, {1, 1})), bias(1)),
           {{kQ + ".merged", matrix(2, {1, 2, 3, 4})},
            {kV + ".merged", matrix(1, {7})},
            {kV + ".lora_a", matrix(1, {1})},
            {kV + ".lora_b", matrix(1, {1})}});
  const nn::TensorMap a = with(adapter(kQ, matrix(1, {4, 8}), matrix(2, {1, 2})), bias(0));
  const nn::TensorMap b = bias(4);
  const nn::TensorMap next = state_of(stacked({1, 3}), {&fresh, &global, &a, &b}, &task);
  REQUIRE(names_in(next) == std::vector<std::string>{"head.bias", kQ + ".lora_a", kQ + ".lora_b",
                                                     kQ + ".merged", kV + ".merged"});
  // + 2 x 1/4 (4 8 / 8 16): b, with no adapter, adds nothing but counts.
  CHECK(at::equal(next.at(kQ + ".merged"), matrix(2, {3, 6, 7, 12})));
  CHECK(next.at(kV + ".merged").item<float>() == 7);
  CHECK(at::equal(next.at(kQ + ".lora_a"), matrix(1, {5, 5})));
  CHECK(next.at("head.bias").item<float>() == 3);
}

TEST_CASE("stacked: s sum_k p_k B_k A_k in double precision, rounded once") {
  const LearningTask task = task_of_scale_2();
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const auto states = random_states(seed, 3);
    const auto weights = random_weights(seed, 3);
    const nn::TensorMap none;
    std::vector<const nn::TensorMap*> inputs = with_global(none, states);
    inputs.insert(inputs.begin(), &none);
    const nn::TensorMap next = state_of(stacked(weights), inputs, &task);
    CHECK_FALSE(next.contains(kQ + ".lora_a"));
    const double sum = weights[0] + weights[1] + weights[2];
    const at::Tensor& merged = next.at(kQ + ".merged");
    for (int64_t o = 0; o < 6; ++o) {
      for (int64_t i = 0; i < 5; ++i) {
        double exact = 0;
        for (size_t k = 0; k < 3; ++k) {
          const at::Tensor& a = states[k].at(kQ + ".lora_a");
          const at::Tensor& b = states[k].at(kQ + ".lora_b");
          for (int64_t r = 0; r < a.size(0); ++r) {
            exact += weights[k] / sum * b[o][r].item<double>() * a[r][i].item<double>();
          }
        }
        CHECK(merged[o][i].item<float>() == static_cast<float>(2 * exact));
      }
    }
  }
}

// --- names ---------------------------------------------------------------------------------------

TEST_CASE("names of aggregations tell their weights") {
  std::vector<Function> functions{tail_norm(1), tail_norm(2)};
  for (const auto& make : {mean_of_holders, zero_padded, svd_refactored, stacked}) {
    for (const std::vector<double>& weights :
         std::vector<std::vector<double>>{{1}, {1, 1}, {1, 2}, {2, 1}}) {
      functions.push_back(make(weights));
    }
  }
  std::set<Digest> names;
  for (const Function& function : functions) names.insert(digest_of(function));
  CHECK(names.size() == functions.size());
}

}  // namespace
}  // namespace fedclock::learning
