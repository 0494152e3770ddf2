#include "sim/scenario/grid.h"

#include <catch2/catch.hpp>

#include "models/common/error.h"

namespace fedclock::scenario {
namespace {

using Catch::Matchers::Contains;
using Texts = std::vector<std::string>;

TEST_CASE("grid: the product, the last axis fastest") {
  const auto points = grid({parse_axis("--vary", "platform.devices[0].network.up_mbit_s=1,10"),
                            parse_axis("--seeds", "seed=1,2,3")});
  REQUIRE(points.size() == 6);
  CHECK(points[0].overrides == Texts{"platform.devices[0].network.up_mbit_s=1", "seed=1"});
  CHECK(points[1].values == Texts{"1", "2"});
  CHECK(points[3].overrides == Texts{"platform.devices[0].network.up_mbit_s=10", "seed=1"});
  CHECK(points[5].name == "up_mbit_s=10,seed=3");
  CHECK(grid({}).size() == 1);
  CHECK(grid({})[0].name == "point");
}

TEST_CASE("grid: fields in step, lists and messages as values") {
  const Axis mix = parse_axis("--vary", "a.devices[0].count,a.devices[1].count=16:4,4:16");
  CHECK(mix.paths == Texts{"a.devices[0].count", "a.devices[1].count"});
  CHECK(grid({mix})[1].overrides == Texts{"a.devices[0].count=4", "a.devices[1].count=16"});
  // What would be called alike has more of its path.
  CHECK(grid({mix})[1].name == "devices[0].count=4,devices[1].count=16");
  CHECK(grid({parse_axis("--vary", "count,a.count=1:2")})[0].name == "count=1,a.count=2");
  const Axis lists = parse_axis("--vary", "model.adapter.targets=[Q,V],[Q,K,V],Q");
  CHECK(lists.steps == std::vector<Texts>{{"[Q,V]"}, {"[Q,K,V]"}, {"Q"}});
  const Axis messages = parse_axis("--vary", "stop={rounds: 3, x: \"}\"},{simulated_s: 2}");
  CHECK(messages.steps.size() == 2);
  CHECK(grid({messages})[0].name == "stop=_rounds:_3,_x:_____");
  // Names that are the same after that get a number.
  const auto same = grid({parse_axis("--vary", "x='a b','a_b'")});
  CHECK(same[0].name != same[1].name);
}

TEST_CASE("grid: what cannot be a grid is refused, with the reason") {
  const auto refused = [](const std::string& text, const std::string& why) {
    CHECK_THROWS_AS(parse_axis("--vary", text), InputError);
    CHECK_THROWS_WITH(parse_axis("--vary", text), Contains("--vary " + text) && Contains(why));
  };
  refused("seed", "PATH=VALUE");
  refused("=3", "PATH=VALUE");
  refused("seed=", "empty");
  refused("seed=1,,2", "empty");
  refused("seed=1,2,1", "1 stands there twice");
  refused("a,b=1:2,3", "3 has 1 parts for 2 fields");
  CHECK_THROWS_WITH(grid({parse_axis("--vary", "seed=1"), parse_axis("--seeds", "seed=2")}),
                    Contains("seed varies twice"));
}

}  // namespace
}  // namespace fedclock::scenario
