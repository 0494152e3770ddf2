// A whole result out of a forked child; and what a part takes in the tiny scenario, by hand.
#pragma once

#include <catch2/catch.hpp>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/federation/timed.h"

namespace fedclock::test {

inline v1::Result result_of(const std::vector<std::string>& overrides) {
  const auto bytes = timed(overrides, [](const v1::Result& result) {
    const std::string text = result.SerializeAsString();
    return std::vector<double>(text.begin(), text.end());
  });
  std::string text;
  for (const double byte : bytes) text.push_back(static_cast<char>(byte));
  v1::Result result;
  REQUIRE(result.ParseFromString(text));
  return result;
}

// A device of the tiny scenario with its link, byte/s.
struct Client {
  double up = 0, down = 0, latency_s = 0;
  cost::Machine machine;
};
inline Client board() { return {1e6, 2e6, 0.01, {"board", 0.5e12, 0.4, 25e9, 4e9, 0.01}}; }
inline Client large_board() {
  return {10e6, 10e6, 0.005, {"large board", 1.5e12, 0.4, 100e9, 16e9, 0.01}};
}

// Seconds of an undisturbed part of six steps that tunes everything.
struct PartSeconds {
  double down_s = 0, train_s = 0, up_s = 0;
  double all() const { return down_s + train_s + up_s; }
};
inline PartSeconds part_of(const federation::Workload& work, const Client& client) {
  const auto bytes = static_cast<double>(work.bytes(share_of(2)));
  return {client.latency_s + bytes / client.down,
          6 * work.step_seconds(client.machine, share_of(2)), client.latency_s + bytes / client.up};
}

// A server whose memory moves 1e7 bytes a second, so that merges take time: k updates of 2436
// elements (2 layers of 4 x 288, a head of 132) are read and one is written, 4 bytes each.
inline const char* const kSlowServer = "platform.server.device.memory_bandwidth_gb_s=0.01";
inline double slow_merge_s(int updates) { return (updates + 1) * 2436 * 4 / 1e7; }

// So many boards and large boards, the former first.
inline std::vector<std::string> boards(int small, int large) {
  return {"platform.devices[0].count=" + std::to_string(small),
          "platform.devices[1].count=" + std::to_string(large)};
}

// Overrides, and more of them.
inline std::vector<std::string> with(std::vector<std::string> overrides,
                                     const std::vector<std::string>& more) {
  overrides.insert(overrides.end(), more.begin(), more.end());
  return overrides;
}

// The events say the same as the records: every byte and every second of every client, and of the
// groups' transfers.
inline void check_conserved(const v1::Result& result) {
  std::map<int32_t, std::pair<int64_t, double>> of_events, of_records;
  const v1::Events& events = result.events();
  int64_t group_bytes = 0;
  for (int i = 0; i < events.client_size(); ++i) {
    const auto phase = events.phase(i);
    if (phase == v1::Event::GROUP_DOWNLOAD || phase == v1::Event::GROUP_UPLOAD) {
      group_bytes += events.bytes(i);
      continue;
    }
    if (events.client(i) < 0 || phase == v1::Event::MERGE) continue;
    auto& [bytes, seconds] = of_events[events.client(i)];
    bytes += events.bytes(i);
    seconds += events.end_s(i) - events.start_s(i);
  }
  for (const v1::Round& round : result.rounds()) {
    int64_t up = 0, down = 0;
    for (const v1::ClientRound& c : round.clients()) {
      auto& [bytes, seconds] = of_records[c.client()];
      bytes += c.bytes_up() + c.bytes_down();
      seconds += c.download_s() + c.train_s() + c.upload_s();
      up += c.bytes_up();
      down += c.bytes_down();
      CHECK(c.lost_bytes_up() <= c.bytes_up());
      CHECK(c.lost_bytes_down() <= c.bytes_down());
      if (!c.dropped()) continue;  // nothing of it was merged: all of it was for nothing
      CHECK(c.lost_bytes_up() == c.bytes_up());
      CHECK(c.lost_bytes_down() == c.bytes_down());
      CHECK(c.lost_s() == Approx(c.download_s() + c.train_s() + c.upload_s()).margin(1e-9));
    }
    for (const v1::GroupRound& group : round.groups()) {
      group_bytes -= group.bytes_up() + group.bytes_down();
      up += group.bytes_up();
      down += group.bytes_down();
    }
    CHECK(round.bytes_up() == up);
    CHECK(round.bytes_down() == down);
  }
  CHECK(group_bytes == 0);
  CHECK(of_events.size() == of_records.size());
  for (const auto& [client, sums] : of_events) {
    CAPTURE(client);
    CHECK(sums.first == of_records[client].first);
    CHECK(sums.second == Approx(of_records[client].second).epsilon(1e-9));
  }
}

}  // namespace fedclock::test
