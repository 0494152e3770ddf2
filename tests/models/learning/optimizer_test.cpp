#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <vector>

#include "models/learning/optimizer.h"

namespace fedclock::learning {
namespace {

at::Tensor vector(const std::vector<float>& values) { return at::tensor(values); }
at::Tensor matrix(const std::vector<float>& values) {
  return at::tensor(values).view({1, static_cast<int64_t>(values.size())});
}

void check_values(const at::Tensor& tensor, const std::vector<double>& expected) {
  REQUIRE(tensor.numel() == static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK(tensor.data_ptr<float>()[i] == Approx(expected[i]).epsilon(1e-6));
  }
}

TEST_CASE("SGD: two steps with momentum and decay by hand") {
  Optimizer optimizer(
      {.kind = OptimizerKind::kSgd, .weight_decay = 0.1, .momentum = 0.5, .clip_norm = 0});
  nn::TensorMap w{{"bias", vector({1})}, {"weight", matrix({1, 2})}};
  nn::TensorMap g{{"bias", vector({0.5})}, {"weight", matrix({0.5, -1})}};
  optimizer.step(w, g, 0.1);
  // m = g; w <- w (1 - 0.1 x 0.1) - 0.1 m: 0.99 - 0.05, 1.98 + 0.1. Vectors do not decay: 1 - 0.05.
  check_values(w.at("weight"), {0.94, 2.08});
  check_values(w.at("bias"), {0.95});
  g = {{"bias", vector({1})}, {"weight", matrix({1, 0})}};
  optimizer.step(w, g, 0.2);
  // m = 0.5 m + g = (1.25, -0.5), 1.25; w <- w (1 - 0.02) - 0.2 m: 0.9212 - 0.25, 2.0384 + 0.1.
  check_values(w.at("weight"), {0.6712, 2.1384});
  check_values(w.at("bias"), {0.7});  // 0.95 - 0.2 x 1.25
}

TEST_CASE("SGD: without momentum nothing is remembered") {
  Optimizer optimizer(
      {.kind = OptimizerKind::kSgd, .weight_decay = 0, .momentum = 0, .clip_norm = 0});
  nn::TensorMap w{{"weight", matrix({1, 2})}};
  nn::TensorMap g{{"weight", matrix({4, -2})}};
  optimizer.step(w, g, 0.25);
  check_values(w.at("weight"), {0, 2.5});
  g = {{"weight", matrix({0, 1})}};
  optimizer.step(w, g, 0.25);
  check_values(w.at("weight"), {0, 2.25});
}

TEST_CASE("AdamW: two steps by hand") {
  Optimizer optimizer(
      {.kind = OptimizerKind::kAdamW, .weight_decay = 0.1, .momentum = 0, .clip_norm = 0});
  nn::TensorMap w{{"bias", vector({1})}, {"weight", matrix({1, 2})}};
  nn::TensorMap g{{"bias", vector({0.5})}, {"weight", matrix({0.5, -1})}};
  optimizer.step(w, g, 0.1);
  // Corrected for their start at 0, m = g and v = g^2, so a step is 0.1 in the gradient's direction
  // (epsilon 1e-8 aside), beside the decay by 0.1 x 0.1: 0.99 - 0.1, 1.98 + 0.1. No decay: 1 - 0.1.
  check_values(w.at("weight"), {0.89, 2.08});
  check_values(w.at("bias"), {0.9});
  g = {{"bias", vector({0.5})}, {"weight", matrix({0.5, 1})}};
  optimizer.step(w, g, 0.1);
  // The first element sees the same gradient again: 0.89 x 0.99 - 0.1. The second one's:
  //   m = 0.9 x (-0.1) + 0.1 x 1 = 0.01, over 1 - 0.9^2 = 0.19: 0.0526316
  //   v = 0.999 x 0.001 + 0.001 = 0.001999, over 1 - 0.999^2 = 0.001999: 1
  // so 2.08 x 0.99 - 0.1 x 0.0526316 = 2.0592 - 0.00526316.
  check_values(w.at("weight"), {0.7811, 2.05393684});
  check_values(w.at("bias"), {0.8});
}

TEST_CASE("optimiser: clipping scales all gradients to the norm, and only when above") {
  Optimizer optimizer(
      {.kind = OptimizerKind::kSgd, .weight_decay = 0, .momentum = 0, .clip_norm = 2});
  nn::TensorMap w{{"a", vector({1, 1})}, {"b", matrix({1})}};
  // Norm sqrt(9 + 16) = 5 over both tensors; 2 / 5 of them: 1.2, 0 and 1.6.
  nn::TensorMap g{{"a", vector({3, 0})}, {"b", matrix({4})}};
  optimizer.step(w, g, 1);
  check_values(w.at("a"), {1 - 1.2, 1});
  check_values(w.at("b"), {1 - 1.6});
  // Norm sqrt(1 + 1) is below 2: as it is.
  w = {{"a", vector({1, 1})}, {"b", matrix({1})}};
  g = {{"a", vector({1, 0})}, {"b", matrix({-1})}};
  optimizer.step(w, g, 1);
  check_values(w.at("a"), {0, 1});
  check_values(w.at("b"), {2});
}

TEST_CASE("optimiser: clipping comes before the moments") {
  Optimizer optimizer(
      {.kind = OptimizerKind::kSgd, .weight_decay = 0, .momentum = 1, .clip_norm = 1});
  nn::TensorMap w{{"a", vector({0})}};
  nn::TensorMap g{{"a", vector({100})}};
  optimizer.step(w, g, 1);
  g = {{"a", vector({0.5})}};
  optimizer.step(w, g, 1);
  check_values(w.at("a"), {-2.5});  // m: 1, then 1 + 0.5
}

}  // namespace
}  // namespace fedclock::learning
