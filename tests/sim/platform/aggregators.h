// Exchanges with gateways and between devices, for tests.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace fedclock::test {

using platform::Place;

inline constexpr Place kServerPlace{};

inline Place gateway(std::size_t index) { return {Place::kGateway, index}; }
inline Place device(std::size_t index) { return {Place::kDevice, index}; }

inline Task<double> up(World world, std::size_t from, double bytes, Place to) {
  Interval interval = co_await world.platform.upload(from, bytes, to);
  co_return interval.end_s;
}
inline Task<double> down(World world, std::size_t to, double bytes, Place from) {
  Interval interval = co_await world.platform.download(to, bytes, from);
  co_return interval.end_s;
}
inline Task<double> gateway_up(World world, std::size_t from, double bytes) {
  Interval interval = co_await world.platform.gateway_upload(from, bytes);
  co_return interval.end_s;
}
inline Task<double> gateway_down(World world, std::size_t to, double bytes) {
  Interval interval = co_await world.platform.gateway_download(to, bytes);
  co_return interval.end_s;
}

// Whether it fails and says so ("": does not fail), and the date.
inline Task<void> note_failure(World world, platform::DeviceOperation& operation,
                               std::string expected) {
  std::string error;
  try {
    co_await operation;
  } catch (const kernel::Failed& failed) {
    error = failed.what();
  }
  world.log.push_back(error == expected);
  world.note();
}

// `d0` and `d1` of plain_world behind `west`, `d2` behind `east`, each with 20 byte/s up, 40 down
// and a machine of 500 flop/s, and `d3` beside them.
inline PlatformSpec two_gateways() {
  PlatformSpec spec = plain_world(4);
  spec.aggregators = platform::Aggregators::kGateways;
  for (const char* name : {"west", "east"}) {
    spec.gateways.push_back({name, 20, 40, 0, false, nullptr, 500});
  }
  spec.devices[0].gateway = spec.devices[1].gateway = 0;
  spec.devices[2].gateway = 1;
  return spec;
}

// Devices that exchange data with each other.
inline PlatformSpec peers(std::size_t devices) {
  PlatformSpec spec = plain_world(devices);
  spec.aggregators = platform::Aggregators::kDevices;
  return spec;
}

// The same dates with what can be computed in closed form and without.
inline void check_both(PlatformSpec spec, const std::vector<double>& expected,
                       const std::function<Task<void>(World)>& root) {
  for (const bool closed_form : {true, false}) {
    CAPTURE(closed_form);
    spec.closed_form = closed_form;
    check_dates(run_world(spec, root), expected);
  }
}

}  // namespace fedclock::test
