// Dates, bytes and weights of whole rounds against hand arithmetic, without any learning.
#include "sim/federation/schedule/schedule.h"

#include <catch2/catch.hpp>

#include <cmath>

#include "models/cost/presets.h"
#include "tests/sim/federation/timed.h"

namespace fedclock::federation {
namespace {

using test::merge_flops;
using test::share_of;
using test::timed;
using test::timed_workload;

constexpr double kBoardUp = 1e6;    // 8 Mbit/s in bytes/s
constexpr double kBoardDown = 2e6;  // 16 Mbit/s
constexpr double kBoardLatency = 0.01;

TEST_CASE("a synchronous round lasts as long as its slowest client, and the merge") {
  const Workload work = timed_workload();
  const learning::Share full = share_of(2);
  const cost::Machine board{"board", 0.5e12, 0.4, 25e9, 4e9, 0.01};
  const cost::Machine server{"server", 20e12, 0.5, 2000e9, 80e9, 0.001};
  const auto down = static_cast<double>(work.bytes(full));
  const auto up = static_cast<double>(work.bytes(full));
  // The board: latency and bytes down, 6 steps, latency and bytes up. The large boards have links
  // ten and five times as fast, half the latency and three times the speed: they are done earlier.
  const double board_s = kBoardLatency + down / kBoardDown + 6 * work.step_seconds(board, full) +
                         kBoardLatency + up / kBoardUp;
  const double merge_s = merge_flops(work, server, 6) / (20e12 * 0.5);
  const auto dates = timed({"federation.selection={all:{}}"}, [](const v1::Result& result) {
    return std::vector<double>{result.rounds(1).end_s(), result.rounds(2).start_s(),
                               result.rounds(3).end_s(), result.rounds(1).merge_s()};
  });
  REQUIRE(dates.size() == 4);
  CHECK(dates[0] == Approx(board_s + merge_s).epsilon(1e-9));
  CHECK(dates[1] == dates[0]);
  CHECK(dates[2] == Approx(3 * (board_s + merge_s)).epsilon(1e-9));
  CHECK(dates[3] == Approx(merge_s).epsilon(1e-6));
}

TEST_CASE("uploads share the server's link") {
  // 6 clients of equal devices and links upload U bytes each at the same date through a link of
  // 8 Mbit/s = 1e6 bytes/s: each gets a sixth of it, so all end 6 U / 1e6 seconds later. Downloads
  // are not touched.
  const Workload work = timed_workload();
  const auto up = static_cast<double>(work.bytes(share_of(2)));
  const auto durations =
      timed({"federation.selection={all:{}}",
             "platform.devices[0].network={up_mbit_s:100 down_mbit_s:100 latency_s:0.01}",
             "platform.devices[1].network={up_mbit_s:100 down_mbit_s:100 latency_s:0.01}",
             "platform.devices[1].device.modes[0].fp32_tflops=0.5",
             "platform.devices[1].device.memory_bandwidth_gb_s=25",
             "platform.server.ingress_mbit_s=8", "stop.rounds=1"},
            [](const v1::Result& result) {
              std::vector<double> upload_s;
              for (const v1::ClientRound& client : result.rounds(1).clients()) {
                upload_s.push_back(client.upload_s());
              }
              return upload_s;
            });
  REQUIRE(durations.size() == 6);
  for (const double upload_s : durations) {
    CHECK(upload_s == Approx(kBoardLatency + 6 * up / 1e6).epsilon(1e-9));
  }
}

TEST_CASE("bytes of a share") {
  const Workload work = timed_workload();
  // Rank 4 on q, v (32 -> 32) and down (128 -> 32) of 2 layers: 4 x (64 + 64 + 160) elements a
  // layer, and a head of 4 x 32 + 4.
  const int64_t layer_elements = 4 * (64 + 64 + 160), head_elements = 4 * 32 + 4;
  const learning::Share deep = share_of(2);
  CHECK(work.elements(deep) == 2 * layer_elements + head_elements);
  CHECK(work.elements(share_of(1)) == layer_elements + head_elements);
  CHECK(work.elements(share_of(0)) == head_elements);
  CHECK(work.bytes(deep) > 4 * work.elements(deep));
  // Headers: under 120 bytes for each of the 14 tensors.
  CHECK(work.bytes(deep) < 4 * work.elements(deep) + 14 * 120);
  // B alone: 4 x 32 for each of three maps and layers; A alone the rest.
  learning::Share b = deep;
  b.a = b.head = false;
  CHECK(work.elements(b) == 2 * 3 * 4 * 32);
  learning::Share a = deep;
  a.b = a.head = false;
  CHECK(work.elements(a) + work.elements(b) + head_elements == work.elements(deep));
}

TEST_CASE("what is timed may be larger than what learns") {
  const auto real = timed({"stop.rounds=1"}, [](const v1::Result& result) {
    return std::vector<double>{result.rounds(1).clients(0).train_s(),
                               static_cast<double>(result.rounds(1).bytes_up())};
  });
  const auto large =
      timed({"stop.rounds=1", "timing.architecture=bert-base"}, [](const v1::Result& result) {
        return std::vector<double>{result.rounds(1).clients(0).train_s(),
                                   static_cast<double>(result.rounds(1).bytes_up())};
      });
  CHECK(large[0] > 10 * real[0]);
  CHECK(large[1] > 10 * real[1]);
}

TEST_CASE("waiting fills each client's round") {
  const auto sums = timed({"stop.rounds=1"}, [](const v1::Result& result) {
    std::vector<double> differences;
    for (const v1::ClientRound& c : result.rounds(1).clients()) {
      differences.push_back(c.download_s() + c.train_s() + c.upload_s() + c.wait_s() -
                            (result.rounds(1).end_s() - result.rounds(1).start_s()));
    }
    return differences;
  });
  REQUIRE(sums.size() == 4);
  for (const double difference : sums) CHECK(std::abs(difference) < 1e-9);
}

}  // namespace
}  // namespace fedclock::federation
