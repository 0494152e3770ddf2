#include "models/cost/payload.h"

#include <catch2/catch.hpp>
#include <string>

#include "models/common/error.h"
#include "tests/models/cost/tiny.h"

using namespace fedclock::cost;
using fedclock::InputError;
using fedclock::cost::testing::tiny_encoder;
using fedclock::nn::Target;

TEST_CASE("adapter tensors are the last layers' and the head's", "[cost][unit]") {
  const auto tensors = adapter_tensors(tiny_encoder(), 1, 2, {Target::kQ, Target::kUp}, 3);
  REQUIRE(tensors.size() == 6);
  CHECK(tensors[0].name == "layers.1.q.lora_a");
  CHECK(tensors[0].shape == std::vector<int64_t>{2, 4});
  CHECK(tensors[1].name == "layers.1.q.lora_b");
  CHECK(tensors[1].shape == std::vector<int64_t>{4, 2});
  CHECK(tensors[3].name == "layers.1.up.lora_b");
  CHECK(tensors[3].shape == std::vector<int64_t>{8, 2});
  CHECK(tensors[4].name == "head.weight");
  CHECK(tensors[4].shape == std::vector<int64_t>{3, 4});
  CHECK(tensors[5].name == "head.bias");
  // q: 2 x 8, up: 2 x 12, head: 15.
  CHECK(element_count(tensors) == 16 + 24 + 15);
}

TEST_CASE("depth 0 sends the head alone", "[cost][unit]") {
  const auto tensors = adapter_tensors(tiny_encoder(), 0, 2, {Target::kQ}, 3);
  REQUIRE(tensors.size() == 2);
  CHECK(tensors[0].name == "head.weight");
  CHECK_THROWS_AS(adapter_tensors(tiny_encoder(), 3, 2, {Target::kQ}, 3), InputError);
}

TEST_CASE("the payload is the safetensors file, header included", "[cost][unit]") {
  const std::vector<TensorInfo> tensors = {{"head.weight", {3, 4}}, {"head.bias", {3}}};
  // Sorted by name; 3 x 4 = 12 bytes, then 12 x 4 = 48 more.
  const std::string header =
      R"({"head.bias":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
      R"("head.weight":{"dtype":"F32","shape":[3,4],"data_offsets":[12,60]}})";
  // A brace, entries of 61 and 66 characters, a comma, a brace; the next multiple of 8 is 136.
  REQUIRE(header.size() == 130);
  CHECK(payload_bytes(tensors, 4) == 8 + 136 + 60);
  // F16: 6 and 24 bytes; the offsets [0,6] and [6,30] are two characters shorter: 128 = 16 x 8.
  CHECK(payload_bytes(tensors, 2) == 8 + 128 + 30);
}

TEST_CASE("a header that fills its last 8 bytes is not padded", "[cost][unit]") {
  // {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} has 54 characters, so a name of three
  // letters makes 56 = 7 x 8, and of four 57, padded to 64.
  CHECK(payload_bytes({{"aaa", {1}}}, 4) == 8 + 56 + 4);
  CHECK(payload_bytes({{"aaaa", {1}}}, 4) == 8 + 64 + 4);
}

TEST_CASE("the order of the tensors does not matter", "[cost][unit]") {
  // "layers.10" sorts before "layers.2"; its 40 bytes and the other's 4 give offsets of different
  // lengths if the order were another.
  const TensorInfo ten{"layers.10.q.lora_a", {10}};
  const TensorInfo two{"layers.2.q.lora_a", {1}};
  const std::string header =
      R"({"layers.10.q.lora_a":{"dtype":"F32","shape":[10],"data_offsets":[0,40]},)"
      R"("layers.2.q.lora_a":{"dtype":"F32","shape":[1],"data_offsets":[40,44]}})";
  const auto padded = static_cast<int64_t>((header.size() + 7) / 8 * 8);
  CHECK(payload_bytes({ten, two}, 4) == 8 + padded + 44);
  CHECK(payload_bytes({two, ten}, 4) == 8 + padded + 44);
}

TEST_CASE("an empty payload is an empty file", "[cost][unit]") {
  CHECK(payload_bytes({}, 4) == 8 + 8);  // "{}" and six spaces
}
