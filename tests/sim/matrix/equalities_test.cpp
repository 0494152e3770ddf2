// Methods that must come to the same where they ask for the same.
#include "tests/sim/matrix/learnt.h"

namespace fedclock::federation {
namespace {

std::vector<double> of(const std::vector<std::string>& overrides) {
  const auto forked = test::run_forked(
      [&] { return test::fingerprint(test::learn(test::load_good("tiny.textproto", overrides))); });
  REQUIRE(forked.error == "");
  REQUIRE(forked.values.size() == 4 * 5 + 32);
  return forked.values;
}

TEST_CASE("HierFedLoRA with one group, one round of it and full depth is FedIT, to the last bit") {
  const std::vector<double> fedit = of({"method=fedit"});
  CHECK(of({"method=hierfedlora", "federation.schedule.hierarchical.near_iid.groups=1",
            "federation.assignment={joint:{fixed_depth:2 fixed_frequency:1}}"}) == fedit);
  // And so is HierFAVG, with any grouping into one.
  CHECK(of({"method=hierfavg",
            "federation.schedule={hierarchical:{random:{groups:1} aggregator:SERVER "
            "intra_rounds:1}}"}) == fedit);
  CHECK(of({"method=fedit", "seed=4"}) != fedit);
}

TEST_CASE("FedBuff that waits for all of equal devices is FedIT, to the last bit") {
  const std::vector<std::string> equal = {
      "federation.selection={all:{}}", "federation.aggregation={mean:{weight_by_rows:true}}",
      "platform.devices[1].device.modes[0].fp32_tflops=0.5",
      "platform.devices[1].device.memory_bandwidth_gb_s=25",
      "platform.devices[1].network={up_mbit_s:8 down_mbit_s:16 latency_s:0.01}"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), equal.begin(), equal.end());
    return of(more);
  };
  const std::vector<double> fedit = with({"method=fedit"});
  CHECK(with({"method=fedbuff", "federation.schedule.buffered.size=6"}) == fedit);
  // A deadline that never comes, too.
  CHECK(with({"federation.schedule={deadline:{deadline_s:1e6}}"}) == fedit);
}

TEST_CASE("answers that change nothing change nothing") {
  const std::vector<double> fedit = of({"method=fedit"});
  // Nothing is stale where a round waits for all; a mean of one rank is HetLoRA's padding with the
  // same weights only; FlexLoRA's factors are others, so is the adapter.
  CHECK(of({"federation.assignment={capacity:{}}"}) == fedit);
  CHECK(of({"federation.assignment={capacity:{ranks:[4,4]}}"}) == fedit);
  CHECK(of({"federation.aggregation={svd:{}}"}) != fedit);
}

}  // namespace
}  // namespace fedclock::federation
