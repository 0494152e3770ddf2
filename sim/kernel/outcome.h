// What an awaited operation can give: when it ran, or why it did not end well.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

namespace fedclock::kernel {

// When an operation ran, in simulated seconds. Latency counts as part of a transfer.
struct Interval {
  double start_s = 0;
  double end_s = 0;

  double duration_s() const { return end_s - start_s; }
};

// Orders events of the same date: devices by index, then the server, then what belongs to neither.
using DeviceId = std::uint32_t;
inline constexpr DeviceId kServer = std::numeric_limits<DeviceId>::max() - 1;
inline constexpr DeviceId kNoDevice = std::numeric_limits<DeviceId>::max();

enum class EventKind : std::uint32_t { kDownload, kCompute, kUpload, kSleep, kDecision };

// Thrown at the point where a cancelled task waits. Not an error of anybody: catch it only to tidy
// up, and let it go on.
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled") {}
};

// A device, the server or a link broke before or during an operation.
class Failed : public std::runtime_error {
 public:
  Failed(const std::string& what, DeviceId device, EventKind kind)
      : std::runtime_error(what), device_(device), kind_(kind) {}

  // The device whose operation failed; kServer for work of the server alone.
  DeviceId device() const { return device_; }
  EventKind kind() const { return kind_; }

 private:
  DeviceId device_;
  EventKind kind_;
};

}  // namespace fedclock::kernel
