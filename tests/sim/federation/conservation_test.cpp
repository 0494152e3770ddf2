// Devices that come and go under every schedule: no byte and no second is lost or counted twice.
#include <catch2/catch.hpp>

#include "tests/sim/federation/parts.h"

namespace fedclock::federation {
namespace {

using test::result_of;
using test::with;

// On for 0.3 s and off for 0.1 s on average: many parts break off. The server restarts, too, and
// its merges take milliseconds.
std::vector<std::string> restless(const std::string& schedule, int seed) {
  const std::string churn = ".availability={churn:{mean_on_s:0.3 mean_off_s:0.1}}";
  const std::string gateway =
      "{name:\"edge\" devices_each:3 up_mbit_s:4 down_mbit_s:8 latency_s:0.02 "
      "device:{name:\"edge\" memory_gb:16 memory_bandwidth_gb_s:0.02 modes:{name:\"all\" "
      "fp32_tflops:2} efficiency:0.5 step_overhead_s:0.001}}";
  return {"platform.devices[0]" + churn,
          "platform.devices[1]" + churn,
          "platform.devices[0].network.gateway=" + gateway,
          "platform.devices[1].network.gateway=" + gateway,
          "platform.outages=[{server:true start_s:0.2 duration_s:0.02 every_s:0.5},{gateway:"
          "\"edge-1\" start_s:0.4 duration_s:0.05 every_s:0.6}]",
          "platform.server.device.memory_bandwidth_gb_s=0.01",
          "federation.schedule={" + schedule + "}",
          "stop.rounds=8",
          "seed=" + std::to_string(seed)};
}

TEST_CASE("under every schedule bytes and seconds are conserved, whatever breaks off") {
  int broken = 0, dropped = 0;
  for (const char* schedule :
       {"synchronous:{on_failure:RESELECT}", "deadline:{deadline_s:0.2}",
        "deadline:{deadline_s:0.15 late:USED}", "deadline:{over_selection:1.5 on_break:GIVE_UP}",
        "deadline:{over_selection:1.5 late:USED on_break:GO_ON}", "asynchronous:{}",
        "asynchronous:{most_staleness:1 on_break:GIVE_UP}", "buffered:{size:2}",
        "buffered:{size:3 most_staleness:1 on_break:GO_ON}", "hierarchical:{random:{groups:2}}",
        "hierarchical:{by_gateway:{} aggregator:GATEWAY intra_rounds:2}",
        "hierarchical:{random:{groups:2} aggregator:DEVICE intra_rounds:2 on_break:GIVE_UP}"}) {
    for (int seed = 1; seed <= 6; ++seed) {
      CAPTURE(schedule, seed);
      const v1::Result result = result_of(restless(schedule, seed));
      CHECK(result.rounds_size() == 9);
      test::check_conserved(result);
      for (const int end : result.events().end()) broken += end == v1::Event::BROKEN;
      for (const v1::Round& round : result.rounds()) {
        for (const v1::ClientRound& c : round.clients()) {
          dropped += c.dropped();
          CHECK(c.wait_s() >= 0);
          CHECK(c.end_s() <= round.end_s());
        }
      }
    }
  }
  CHECK(broken > 500);
  CHECK(dropped > 100);
}

}  // namespace
}  // namespace fedclock::federation
