// The world through the program: importing traces, asking why, counting energy, shrinking depth.
#include <catch2/catch.hpp>

#include <fstream>

#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

using Catch::Contains;

TEST_CASE("FedScale's pickle becomes a table that a scenario runs on; code in it is refused") {
  const Workplace here;
  // {7: {active: [0, 30], inactive: [10, 40], finish_time: 100, ...}, 2: {[5], [25], 100}}
  std::ofstream(here / "trace.pkl", std::ios::binary)
      << "(dp0\nI7\n(dp1\nVduration\np2\nI50\nsVactive\np3\n(lp4\nI0\naI30\nasVinactive\np5\n(lp6\n"
         "I10\naI40\nasVfinish_time\np7\nI100\nsVmodel\np8\nVx\np9\nssI2\n(dp10\ng2\nI50\nsg3\n"
         "(lp11\nI5\nasg5\n(lp12\nI25\nasg7\nI100\nss.";
  const Ran imported = here.run("import-fedscale trace.pkl -o days.csv");
  INFO(imported.err);
  REQUIRE(imported.code == 0);
  CHECK_THAT(imported.out, Contains("2 clients, 3 intervals") && Contains("period_s: 100"));
  CHECK(read_file(here / "days.csv") == "client_id,start_s,end_s\n2,5,25\n7,0,10\n7,30,40\n");
  const Ran ran = here.run(
      "run " + tiny_scenario() + " --timing-only --data . --out a --set " +
      "'platform.devices[0].availability={trace:{file:\"days.csv\" period_s:100}}' --set " +
      "'platform.devices[1].availability={trace:{file:\"days.csv\" period_s:100 start_s:50}}'");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  // Clients 1 and 3 are there at once (id 7), and nobody else for 5 s.
  CHECK_THAT(read_file(here / "a/clients.csv"),
             Contains("\n1,1,board,") && Contains("\n1,3,board,"));

  std::ofstream(here / "bad.pkl", std::ios::binary)
      << "(dp0\nI1\ncposix\nsystem\np1\n(Vtouch pwned\np2\ntp3\nRp4\ns.";
  const Ran refused = here.run("import-fedscale bad.pkl -o bad.csv");
  CHECK(refused.code == 2);
  CHECK_THAT(refused.err, Contains("bad.pkl") && Contains("plain data"));
  CHECK_FALSE(std::filesystem::exists(here / "pwned"));
  CHECK_FALSE(std::filesystem::exists(here / "bad.csv"));
}

TEST_CASE("losses, energy and shrunk depths stand in the summary, in why and in compare") {
  const Workplace here;
  const std::string energy =
      " --set platform.energy=true --set platform.devices[0].network.radio_w=1"
      " --set platform.devices[1].network.radio_w=1 --set platform.devices[0].device.idle_w=1"
      " --set platform.devices[1].device.idle_w=1"
      " --set platform.devices[0].device.modes[0].busy_w=9"
      " --set platform.devices[1].device.modes[0].busy_w=9";
  const std::string run = "run " + tiny_scenario() + " --timing-only" + energy;
  const Ran calm = here.run(run + " --out calm");
  INFO(calm.err);
  REQUIRE(calm.code == 0);
  CHECK_THAT(calm.out, Contains("energy") && !Contains("lost"));
  const Ran rough = here.run(run +
                             " --out rough --set 'federation.selection={all:{}}'"
                             " --set 'platform.outages=[{client:0 start_s:0.05 duration_s:1}]'"
                             " --set platform.devices[1].device.memory_gb=0.001"
                             " --set federation.assignment.uniform.when_too_large=LEAVE_OUT");
  INFO(rough.err);
  REQUIRE(rough.code == 0);
  CHECK_THAT(rough.out,
             Contains("lost               0 parts dropped") &&
                 Contains("note               2 x large board: memory of 0.001 GB holds 0 of "
                          "2 layers: left out"));
  CHECK_THAT(here.run("why rough --round 1").out, Contains("out of reach"));
  CHECK_THAT(here.run("compare calm rough").out, Contains("energy") && Contains(" J"));
  CHECK_THAT(here.run("cost " + tiny_scenario() +
                      " --set 'platform.devices[0].network={latency_s:0 "
                      "drawn:{down_mbit_s:{uniform:{low:8 high:8}}}}'")
                 .out,
             Contains("board") && !Contains("inf"));
}

}  // namespace
}  // namespace fedclock::test
