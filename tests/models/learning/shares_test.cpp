#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <set>

#include "tests/models/learning/states.h"

namespace fedclock::learning {
namespace {

using Names = std::vector<std::string>;

// Rank 2 in layer 0 and 1 in layer 10, something merged in layer 1, and a head.
nn::TensorMap example() {
  return {{"layers.0.q.lora_a", matrix(2, {1, 2, 3, 4, 5, 6})},
          {"layers.0.q.lora_b", matrix(2, {1, 2, 3, 4})},
          {"layers.10.down.lora_a", matrix(1, {7, 8, 9})},
          {"layers.10.down.lora_b", matrix(2, {7, 8})},
          {"layers.1.q.merged", matrix(2, {1, 1, 1, 1, 1, 1})},
          {"head.weight", matrix(1, {1, 2})},
          {"head.bias", vector({5})}};
}

Share share_of(int64_t rank_of_0, int64_t rank_of_10) {
  Share share;
  share.ranks.assign(11, 0);
  share.ranks[0] = rank_of_0;
  share.ranks[10] = rank_of_10;
  return share;
}

TEST_CASE("renamed: an expert's adapters by another's names, and nothing else") {
  nn::TensorMap state = example();
  state["layers.0.q.router"] = matrix(2, {1, 2, 3, 4, 5, 6});
  const nn::TensorMap expert = state_of(renamed(-1, 3), {&state});
  CHECK(names_in(expert) == Names{"layers.0.q.expert.3.lora_a", "layers.0.q.expert.3.lora_b",
                                  "layers.10.down.expert.3.lora_a",
                                  "layers.10.down.expert.3.lora_b"});
  CHECK(at::equal(expert.at("layers.0.q.expert.3.lora_b"), state.at("layers.0.q.lora_b")));
  const nn::TensorMap other = state_of(renamed(3, 12), {&expert});
  CHECK(at::equal(other.at("layers.10.down.expert.12.lora_a"), state.at("layers.10.down.lora_a")));
  CHECK(names_in(state_of(renamed(12, -1), {&other})) ==
        Names{"layers.0.q.lora_a", "layers.0.q.lora_b", "layers.10.down.lora_a",
              "layers.10.down.lora_b"});
  CHECK(state_of(renamed(3, -1), {&state}).empty());
}

TEST_CASE("a share of experts alone has no shared adapter") {
  nn::TensorMap state = example();
  const nn::TensorMap expert = state_of(renamed(-1, 0), {&state});
  state.insert(expert.begin(), expert.end());
  state["layers.0.q.router"] = matrix(2, {1, 2, 3, 4, 5, 6});
  Share share = share_of(2, 0);
  share.shared = false;
  share.experts[{0, nn::Target::kQ}] = {0};
  CHECK(names_in(state_of(only(share), {&state})) ==
        Names{"head.bias", "head.weight", "layers.0.q.expert.0.lora_a",
              "layers.0.q.expert.0.lora_b", "layers.0.q.router"});
}

// --- tailored ------------------------------------------------------------------------------------

TEST_CASE("tailored: the first rows of A and columns of B, as many as the share's rank") {
  const nn::TensorMap state = example();
  const nn::TensorMap cut = state_of(tailored(share_of(1, 4)), {&state});
  REQUIRE(names_in(cut) == names_in(state));
  // A (1 2 3 / 4 5 6) loses its second row, B (1 2 / 3 4) its second column.
  CHECK(at::equal(cut.at("layers.0.q.lora_a"), matrix(1, {1, 2, 3})));
  CHECK(at::equal(cut.at("layers.0.q.lora_b"), matrix(2, {1, 3})));
  CHECK(cut.at("layers.0.q.lora_b").is_contiguous());
  // Rank 1 is less than 4: as it is.
  CHECK(at::equal(cut.at("layers.10.down.lora_a"), state.at("layers.10.down.lora_a")));
  CHECK(at::equal(cut.at("layers.10.down.lora_b"), state.at("layers.10.down.lora_b")));
  CHECK(at::equal(state.at("layers.0.q.lora_b"), matrix(2, {1, 2, 3, 4})));  // the input stays
}

TEST_CASE("tailored: layers, factors and the head of the share, and all that was merged") {
  const nn::TensorMap state = example();
  CHECK(names_in(state_of(tailored(share_of(0, 1)), {&state})) ==
        Names{"head.bias", "head.weight", "layers.1.q.merged", "layers.10.down.lora_a",
              "layers.10.down.lora_b"});
  Share share = share_of(2, 1);
  share.a = share.head = false;
  CHECK(names_in(state_of(tailored(share), {&state})) ==
        Names{"layers.0.q.lora_b", "layers.1.q.merged", "layers.10.down.lora_b"});
  // A share of fewer layers, and one of none.
  CHECK(names_in(state_of(tailored({.ranks = {2}, .b = false, .head = false}), {&state})) ==
        Names{"layers.0.q.lora_a", "layers.1.q.merged"});
  CHECK(names_in(state_of(tailored({.ranks = {}}), {&state})) ==
        Names{"head.bias", "head.weight", "layers.1.q.merged"});
}

TEST_CASE("tailored: a state without a head or adapters") {
  const nn::TensorMap none;
  CHECK(state_of(tailored(share_of(2, 2)), {&none}).empty());
}

// --- only, laid over -----------------------------------------------------------------------------

TEST_CASE("only: the tensors of the share as they are, nothing that was merged") {
  const nn::TensorMap state = example();
  const nn::TensorMap part = state_of(only(share_of(1, 0)), {&state});
  REQUIRE(names_in(part) ==
          Names{"head.bias", "head.weight", "layers.0.q.lora_a", "layers.0.q.lora_b"});
  CHECK(at::equal(part.at("layers.0.q.lora_a"), state.at("layers.0.q.lora_a")));  // rank 2
  Share share = share_of(1, 1);
  share.b = share.head = false;
  CHECK(names_in(state_of(only(share), {&state})) ==
        Names{"layers.0.q.lora_a", "layers.10.down.lora_a"});
}

TEST_CASE("laid over: the tensors of both, those above where both have one") {
  const nn::TensorMap below{{"head.bias", vector({1})}, {"head.weight", matrix(1, {2})}};
  const nn::TensorMap above{{"head.bias", vector({3})}, {"layers.0.q.lora_a", matrix(1, {4})}};
  const nn::TensorMap both = state_of(laid_over(), {&below, &above});
  REQUIRE(names_in(both) == Names{"head.bias", "head.weight", "layers.0.q.lora_a"});
  CHECK(both.at("head.bias").item<float>() == 3);
  CHECK(both.at("head.weight").item<float>() == 2);
  CHECK(both.at("layers.0.q.lora_a").item<float>() == 4);
  CHECK(below.at("head.bias").item<float>() == 1);
}

// --- carried over --------------------------------------------------------------------------------

TEST_CASE("carried over: by hand, of a smaller rank the first rows and columns") {
  const nn::TensorMap now{{"layers.0.q.lora_a", matrix(2, {10, 20, 30, 40})},
                          {"layers.0.q.lora_b", matrix(2, {1, 2, 3, 4})},
                          {"head.bias", vector({1})}};
  const nn::TensorMap start{{"layers.0.q.lora_a", matrix(2, {1, 1, 1, 1})},
                            {"layers.0.q.lora_b", matrix(2, {0, 9, 0, 9})},
                            {"head.bias", vector({2})}};
  const nn::TensorMap update{{"layers.0.q.lora_a", matrix(1, {3, 5})},
                             {"layers.0.q.lora_b", matrix(2, {4, 6})}};
  const nn::TensorMap carried = state_of(carried_over(0.5), {&now, &start, &update});
  REQUIRE(names_in(carried) == names_in(update));
  // 10 + (3 - 1) / 2, 20 + (5 - 1) / 2; 1 + (4 - 0) / 2, 3 + (6 - 0) / 2
  CHECK(at::equal(carried.at("layers.0.q.lora_a"), matrix(1, {11, 22})));
  CHECK(at::equal(carried.at("layers.0.q.lora_b"), matrix(2, {3, 6})));
}

TEST_CASE("carried over: where nothing happened meanwhile, the update") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed, "test: carried over");
    nn::TensorMap start, update;
    add_adapter(start, "layers.0.q", 4, 5, 6, random);
    add_adapter(update, "layers.0.q", 3, 5, 6, random);
    const nn::TensorMap carried = state_of(carried_over(1), {&start, &start, &update});
    for (const auto& [name, tensor] : update) {
      const float* expected = tensor.data_ptr<float>();
      const float* value = carried.at(name).data_ptr<float>();
      for (int64_t i = 0; i < tensor.numel(); ++i) {
        const float infinity = std::numeric_limits<float>::infinity();
        CHECK(value[i] >= std::nextafter(expected[i], -infinity));
        CHECK(value[i] <= std::nextafter(expected[i], infinity));
      }
    }
  }
}

TEST_CASE("carried over: elements that the start does not have are refused") {
  const nn::TensorMap now{{"layers.0.q.lora_a", matrix(2, {1, 2, 3, 4})}};
  const nn::TensorMap smaller{{"layers.0.q.lora_a", matrix(1, {1, 2})}}, none;
  const nn::TensorMap narrower{{"layers.0.q.lora_a", matrix(2, {1, 2})}};
  CHECK_THROWS_AS(state_of(carried_over(1), {&now, &smaller, &now}), ProgrammerError);
  CHECK_THROWS_AS(state_of(carried_over(1), {&smaller, &now, &now}), ProgrammerError);
  CHECK_THROWS_AS(state_of(carried_over(1), {&now, &none, &now}), ProgrammerError);
  CHECK_THROWS_AS(state_of(carried_over(1), {&now, &now, &narrower}), ProgrammerError);
  CHECK_THROWS_AS(state_of(carried_over(1), {&now, &now}), ProgrammerError);
}

// --- names ---------------------------------------------------------------------------------------

TEST_CASE("names of functions tell their parameters") {
  Share no_a = share_of(1, 1), no_b = no_a, no_head = no_a;
  no_a.a = no_b.b = no_head.head = false;
  const std::vector<Function> functions{tailored(share_of(1, 1)),
                                        tailored(share_of(1, 2)),
                                        tailored(share_of(2, 1)),
                                        tailored({.ranks = {1}}),
                                        tailored({.ranks = {}}),
                                        tailored(no_a),
                                        tailored(no_b),
                                        tailored(no_head),
                                        only(share_of(1, 1)),
                                        only(share_of(2, 1)),
                                        only(no_head),
                                        laid_over(),
                                        carried_over(1),
                                        carried_over(0.5)};
  std::set<Digest> names;
  for (const Function& function : functions) names.insert(digest_of(function));
  CHECK(names.size() == functions.size());
  CHECK(digest_of(tailored(share_of(1, 1))) == digest_of(tailored(share_of(1, 1))));
}

}  // namespace
}  // namespace fedclock::learning
