// The server's optimisers and control variates.
#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "tests/models/learning/states.h"

namespace fedclock::learning {
namespace {

using enum ServerOptimizerKind;
using Names = std::vector<std::string>;

nn::TensorMap bias(const std::vector<float>& values) { return {{"head.bias", vector(values)}}; }

// Two rounds from 1 with d = 0.5 and then d = -0.25: (first moments, second ones, states).
struct TwoSteps {
  std::vector<double> first, second, states;
};
TwoSteps two_steps(const ServerOptimizerSettings& settings) {
  TwoSteps result;
  nn::TensorMap global = bias({1}), moments;
  for (const float d : {0.5F, -0.25F}) {
    const nn::TensorMap merged = bias({global.at("head.bias").item<float>() + d});
    nn::TensorMap next = result.first.empty()
                             ? state_of(server_moments(settings), {&global, &merged})
                             : state_of(server_moments(settings), {&global, &merged, &moments});
    moments = std::move(next);
    global = state_of(server_step(settings), {&global, &merged, &moments});
    result.first.push_back(moments.at("first.head.bias").item<double>());
    const auto second = moments.find("second.head.bias");
    if (second != moments.end()) result.second.push_back(second->second.item<double>());
    result.states.push_back(global.at("head.bias").item<double>());
  }
  return result;
}

void check(const std::vector<double>& values, const std::vector<double>& expected) {
  REQUIRE(values.size() == expected.size());
  for (size_t i = 0; i < values.size(); ++i) {
    INFO("element " << i);
    CHECK(values[i] == Approx(expected[i]).epsilon(1e-6));
  }
}

// --- optimisers ----------------------------------------------------------------------------------

TEST_CASE("server momentum: two steps by hand") {
  const TwoSteps steps = two_steps({.kind = kMomentum, .learning_rate = 0.5, .momentum = 0.9});
  // m = 0.5; 1 + 0.5 x 0.5.  m = 0.9 x 0.5 - 0.25 = 0.2; 1.25 + 0.5 x 0.2.
  check(steps.first, {0.5, 0.2});
  check(steps.states, {1.25, 1.35});
  CHECK(steps.second.empty());
  // Rate 1 and no momentum: as merged.
  check(two_steps({.kind = kMomentum, .learning_rate = 1, .momentum = 0}).states, {1.5, 1.25});
}

TEST_CASE("server Nesterov: two steps by hand") {
  const TwoSteps steps = two_steps({.kind = kNesterov, .learning_rate = 0.5, .momentum = 0.9});
  // m = 0.5; d + 0.9 m = 0.95; 1 + 0.475.  m = 0.2; -0.25 + 0.18 = -0.07; 1.475 - 0.035.
  check(steps.first, {0.5, 0.2});
  check(steps.states, {1.475, 1.44});
  CHECK(steps.second.empty());
}

TEST_CASE("server Adam: two steps by hand") {
  const TwoSteps steps =
      two_steps({.kind = kAdam, .learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.75, .tau = 0.5});
  // m = 0.1 x 0.5 = 0.05; v = 0.75 x 0.25 + 0.25 x 0.25 = 0.25; 1 + 0.1 x 0.05 / (0.5 + 0.5)
  // m = 0.9 x 0.05 - 0.1 x 0.25 = 0.02; v = 0.75 x 0.25 + 0.25 x 0.0625 = 0.203125;
  // 1.005 + 0.1 x 0.02 / (0.450694 + 0.5)
  check(steps.first, {0.05, 0.02});
  check(steps.second, {0.25, 0.203125});
  check(steps.states, {1.005, 1.005 + 0.002 / (std::sqrt(0.203125) + 0.5)});
}

TEST_CASE("server Yogi: v goes up, down or stays with the sign of v - d^2") {
  ServerOptimizerSettings settings{
      .kind = kYogi, .learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.75, .tau = 0.5};
  const TwoSteps steps = two_steps(settings);
  // v = tau^2 = 0.25 and d^2 = 0.25: stays. Then d^2 = 0.0625 < 0.25: v = 0.25 - 0.25 x 0.0625.
  check(steps.first, {0.05, 0.02});
  check(steps.second, {0.25, 0.234375});
  check(steps.states, {1.005, 1.005 + 0.002 / (std::sqrt(0.234375) + 0.5)});
  // d^2 = 4 > v = 0.25: v = 0.25 + 0.25 x 4.
  const nn::TensorMap global = bias({1}), merged = bias({3});
  const nn::TensorMap moments = state_of(server_moments(settings), {&global, &merged});
  CHECK(moments.at("second.head.bias").item<float>() == 1.25F);
}

TEST_CASE("server optimisers: a tensor, row or column that is new is as merged") {
  const auto kind = GENERATE(kMomentum, kNesterov, kAdam, kYogi);
  const ServerOptimizerSettings settings{.kind = kind, .learning_rate = 1, .momentum = 0.5};
  const nn::TensorMap global{{"layers.0.q.lora_b", matrix(2, {1, 2})},
                             {"layers.0.q.merged", matrix(1, {5})}};
  const nn::TensorMap merged{{"layers.0.q.lora_b", matrix(2, {1.5, 7, 2.5, 8})},
                             {"layers.0.q.merged", matrix(1, {6})},
                             {"head.bias", vector({3})}};
  const nn::TensorMap moments = state_of(server_moments(settings), {&global, &merged});
  CHECK(moments.size() == (kind == kAdam || kind == kYogi ? 2 : 1));
  const nn::TensorMap next = state_of(server_step(settings), {&global, &merged, &moments});
  REQUIRE(names_in(next) == names_in(merged));
  CHECK(next.at("head.bias").item<float>() == 3);
  CHECK(next.at("layers.0.q.merged").item<float>() == 6);
  const float* b = next.at("layers.0.q.lora_b").data_ptr<float>();
  CHECK(b[1] == 7);
  CHECK(b[3] == 8);
  if (kind == kMomentum) CHECK(b[0] == 1.5F);             // 1 + 0.5
  if (kind == kNesterov) CHECK(b[2] == 2 + 0.5F * 1.5F);  // d + 0.5 m
  // The next round's moments go on from these, also where the rank has grown.
  const nn::TensorMap grown{{"layers.0.q.lora_b", matrix(2, {2, 7, 1, 3, 8, 1})}};
  const nn::TensorMap later = state_of(server_moments(settings), {&next, &grown, &moments});
  CHECK(later.at("first.layers.0.q.lora_b").size(1) == 3);
  CHECK(later.at("first.layers.0.q.lora_b").data_ptr<float>()[1] == 0);  // 7 - 7
}

TEST_CASE("server optimisers: adapters element by element, inputs stay as they are") {
  Random random(1, "test: server optimiser");
  nn::TensorMap global, merged;
  add_adapter(global, "layers.0.q", 2, 3, 4, random);
  add_adapter(merged, "layers.0.q", 2, 3, 4, random);
  const ServerOptimizerSettings settings{.kind = kAdam, .learning_rate = 0.1};
  const at::Tensor before = global.at("layers.0.q.lora_a").clone();
  const nn::TensorMap moments = state_of(server_moments(settings), {&global, &merged});
  const nn::TensorMap next = state_of(server_step(settings), {&global, &merged, &moments});
  CHECK(at::equal(global.at("layers.0.q.lora_a"), before));
  for (const char* name : {"layers.0.q.lora_a", "layers.0.q.lora_b"}) {
    const at::Tensor d = (merged.at(name) - global.at(name)).to(at::kDouble);
    const at::Tensor m = 0.1 * d, v = 0.99e-6 + 0.01 * d.square();
    CHECK(relative_difference(
              next.at(name), global.at(name).to(at::kDouble) + 0.1 * m / (v.sqrt() + 1e-3)) < 1e-6);
  }
  const nn::TensorMap none;
  CHECK_THROWS_AS(state_of(server_step(settings), {&global, &merged, &none}), ProgrammerError);
  CHECK_THROWS_AS(state_of(server_moments(settings), {&global}), ProgrammerError);
}

// --- control variates ----------------------------------------------------------------------------

TEST_CASE("new control: by hand") {
  const nn::TensorMap c{{"layers.0.q.lora_a", matrix(2, {1, 2, 3, 4})}};
  const nn::TensorMap start{{"layers.0.q.lora_a", matrix(1, {5, 5})}, {"head.bias", vector({1})}};
  const nn::TensorMap trained{{"layers.0.q.lora_a", matrix(1, {4, 7})},
                              {"head.bias", vector({3})},
                              {"layers.0.q.merged", matrix(1, {1, 1})}};
  const nn::TensorMap c_i{{"layers.0.q.lora_a", matrix(1, {10, 20})}}, none;
  // c_i - c + (start - trained) x 0.5: 10 - 1 + 0.5, 20 - 2 - 1; the head's controls are 0.
  nn::TensorMap control = state_of(new_control(0.5), {&c, &start, &trained, &c_i});
  REQUIRE(names_in(control) == Names{"head.bias", "layers.0.q.lora_a"});
  check_values(control.at("layers.0.q.lora_a"), {9.5, 17});
  check_values(control.at("head.bias"), {-1});
  // The first time: no c_i, an empty c.
  control = state_of(new_control(0.5), {&none, &start, &trained});
  check_values(control.at("layers.0.q.lora_a"), {0.5, -1});
  CHECK_THROWS_AS(state_of(new_control(1), {&none, &none, &trained}), ProgrammerError);
  CHECK_THROWS_AS(state_of(new_control(1), {&none, &start}), ProgrammerError);
}

TEST_CASE("moved control: by hand") {
  const nn::TensorMap none, c{{"layers.0.q.lora_a", matrix(1, {1, 2})}};
  const nn::TensorMap first{{"layers.0.q.lora_a", matrix(1, {4, 4})}};
  const nn::TensorMap first_new{{"layers.0.q.lora_a", matrix(2, {8, 0, 4, 12})}};
  const nn::TensorMap second_new{{"layers.0.q.lora_a", matrix(1, {2, 2})},
                                 {"head.bias", vector({6})}};
  const nn::TensorMap moved =
      state_of(moved_control(4), {&c, &first, &first_new, &none, &second_new});
  // 1 + (8 - 4 + 2) / 4, 2 + (0 - 4 + 2) / 4; a new row 4 / 4, 12 / 4; a new tensor 6 / 4.
  check_values(moved.at("layers.0.q.lora_a"), {2.5, 1.5, 1, 3});
  check_values(moved.at("head.bias"), {1.5});
  CHECK_THROWS_AS(state_of(moved_control(4), {&c, &first}), ProgrammerError);
}

TEST_CASE("control variates: c stays the mean of the clients' own") {
  Random random(3, "test: controls");
  const nn::TensorMap none;
  nn::TensorMap c;
  std::vector<nn::TensorMap> own(3);
  for (int round = 0; round < 4; ++round) {
    std::vector<nn::TensorMap> next = own;
    std::vector<const nn::TensorMap*> inputs{&c};
    for (size_t i = 0; i < own.size(); ++i) {
      if (static_cast<int>(i) == round) continue;  // not every client every time
      add_adapter(next[i], "layers.0.q", 1 + static_cast<int64_t>(i), 3, 2, random);
      inputs.push_back(&own[i]);
      inputs.push_back(&next[i]);
    }
    c = state_of(moved_control(3), inputs);
    own = next;
  }
  at::Tensor mean = at::zeros({3, 3}, at::kDouble);
  for (size_t i = 0; i < own.size(); ++i) {
    mean.narrow(0, 0, 1 + static_cast<int64_t>(i)) += own[i].at("layers.0.q.lora_a") / 3.0;
  }
  CHECK(relative_difference(c.at("layers.0.q.lora_a"), mean) < 1e-6);
}

TEST_CASE("names of server optimisers and controls tell their parameters") {
  std::vector<Function> functions{new_control(1), new_control(2), moved_control(1),
                                  moved_control(2)};
  for (const auto kind : {kMomentum, kNesterov, kAdam, kYogi}) {
    functions.push_back(server_moments({.kind = kind}));
    functions.push_back(server_step({.kind = kind}));
  }
  functions.push_back(server_step({.learning_rate = 0.5}));
  functions.push_back(server_step({.momentum = 0.5}));
  functions.push_back(server_step({.beta1 = 0.5}));
  functions.push_back(server_step({.beta2 = 0.5}));
  functions.push_back(server_step({.tau = 0.5}));
  std::set<Digest> names;
  for (const Function& function : functions) names.insert(digest_of(function));
  CHECK(names.size() == functions.size());
}

}  // namespace
}  // namespace fedclock::learning
