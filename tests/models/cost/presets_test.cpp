#include <catch2/catch.hpp>

#include "models/common/error.h"
#include "models/cost/presets.h"

using fedclock::InputError;
using fedclock::cost::architecture_preset;
using fedclock::cost::preset_names;
using fedclock::nn::parameter_count;

namespace {

// BERT's and RoBERTa's published counts include a pooler, a linear map of width to width with a
// bias on the first token, which parameter_shapes does not have: fedclock's classifier replaces it.
int64_t with_pooler(const fedclock::nn::Architecture& a) {
  return parameter_count(a) + a.width * a.width + a.width;
}

}  // namespace

TEST_CASE("presets have the published parameter counts", "[cost][unit]") {
  CHECK(with_pooler(architecture_preset("bert-base")) == 109'482'240);
  CHECK(with_pooler(architecture_preset("roberta-base")) == 124'645'632);
  CHECK(parameter_count(architecture_preset("roberta-base")) == 124'055'040);
  CHECK(with_pooler(architecture_preset("roberta-large")) == 355'359'744);
  CHECK(parameter_count(architecture_preset("llama-3.2-1b")) == 1'235'814'400);
  CHECK(parameter_count(architecture_preset("llama-2-7b")) == 6'738'415'616);
  CHECK(parameter_count(architecture_preset("qwen-1.8b")) == 1'836'828'672);
  CHECK(parameter_count(architecture_preset("qwen-7b")) == 7'721'324'544);
}

TEST_CASE("every preset is consistent", "[cost][unit]") {
  REQUIRE(preset_names().size() == 7);
  for (const std::string& name : preset_names()) {
    INFO(name);
    CHECK_NOTHROW(fedclock::nn::check_architecture(architecture_preset(name)));
  }
}

TEST_CASE("an unknown preset is an error that lists the known ones", "[cost][unit]") {
  CHECK_THROWS_AS(architecture_preset("bert"), InputError);
  CHECK_THROWS_WITH(architecture_preset("bert"),
                    Catch::Contains("\"bert\"") && Catch::Contains("bert-base, roberta-base"));
}
