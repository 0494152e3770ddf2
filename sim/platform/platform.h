// The world that tasks run in: devices around one server.
//
//   device d --- up_d ---> (ingress) ---> server        an upload of B bytes by d
//   device d <-- down_d -- (egress) <---- server        a download of B bytes to d
//
// Each device has a link of its own for each direction, so uploads and downloads do not disturb
// each other. The server's two links exist only when their bandwidth is given; all transfers of
// that direction share them. The device's latency is paid once by each transfer, one way. How long
// a transfer lasts is in sim/kernel/simulation.h (NetworkModel); work of W flops on a device of
// speed S lasts W/S, or longer when the device works on several things at once: they get equal
// shares.
//
// Only links that can be a bottleneck should be described: one that is shared couples all its
// flows, and the cost of an event grows with the flows that are under way on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/kernel/activity.h"
#include "sim/kernel/outcome.h"
#include "sim/kernel/simulation.h"

namespace simgrid::s4u {
class Link;
class NetZone;
}  // namespace simgrid::s4u

namespace fedclock::platform {

using kernel::Interval;
using kernel::NetworkModel;

struct DeviceSpec {
  std::string name;         // unique, also against the server's
  double speed_flops = 0;   // flop/s that it really reaches
  double up_bytes_s = 0;    // byte/s from the device to the server
  double down_bytes_s = 0;  // byte/s from the server to the device
  double latency_s = 0;     // one way
};

struct ServerSpec {
  std::string name;
  double speed_flops = 0;
  std::optional<double> ingress_bytes_s;  // shared by all uploads; none: never a bottleneck
  std::optional<double> egress_bytes_s;   // shared by all downloads
};

struct PlatformSpec {
  std::vector<DeviceSpec> devices;
  ServerSpec server;
  NetworkModel model = NetworkModel::kFluid;
};

class Platform;

// What Platform's functions return: await it, for the interval in which it ran. Throws
// kernel::Failed when the device (or the server) is off, or goes off meanwhile.
class [[nodiscard]] DeviceOperation final : public kernel::ActivityOperation {
 public:
  // Platform makes these. The amount is in bytes, or in flops for kCompute.
  DeviceOperation(Platform& platform, std::size_t host, kernel::EventKind kind, double amount);
  ~DeviceOperation() override { leave(); }

  Interval await_resume() const { return result(); }
  std::string describe() const override;

 private:
  friend class Platform;

  void begin() override;
  void on_date() override { start_activity(); }
  void abandon() override;
  std::string failure() const override;
  void start_activity();
  void enter();
  void leave();

  Platform* platform_;
  std::size_t host_;
  double amount_;
  DeviceOperation* previous_ = nullptr;  // a list of what this device has under way
  DeviceOperation* next_ = nullptr;
  bool listed_ = false;
};

// One in a simulation, and made before the simulation runs.
class Platform {
 public:
  // InputError for a speed or bandwidth that is not finite or not above 0, a latency that is not
  // finite or below 0, an empty name, two of the same name.
  Platform(kernel::Simulation& simulation, const PlatformSpec& spec);
  Platform(const Platform&) = delete;
  Platform& operator=(const Platform&) = delete;

  // co_await these. A missing or zero cost is an error: InputError if bytes or flops are not finite
  // or not above 0. Bytes are rounded up to whole ones. ProgrammerError for a device out of range.
  DeviceOperation download(std::size_t device, double bytes);
  DeviceOperation upload(std::size_t device, double bytes);
  DeviceOperation compute(std::size_t device, double flops);
  DeviceOperation compute_on_server(double flops);

  std::size_t device_count() const { return hosts_.size() - 1; }
  const std::string& device_name(std::size_t device) const { return hosts_[device].name; }

  // Off: what the device has under way ends with kernel::Failed at this date, and what is asked of
  // it later does so at once. Switching to what it is already does nothing.
  void set_device_on(std::size_t device, bool on);
  bool is_device_on(std::size_t device) const;
  // The same for the server: transfers of all devices fail with it.
  void set_server_on(bool on);
  bool is_server_on() const;

 private:
  friend class DeviceOperation;

  struct Host {
    std::string name;
    simgrid::s4u::Host* host = nullptr;
    double latency_s = 0;  // that fedclock waits for; 0 where SimGrid's link has it
    DeviceOperation* under_way = nullptr;
    bool on = true;
  };

  void build(const PlatformSpec& spec);
  void set_on(std::size_t host, bool on);
  void fail_all(std::size_t host, const std::string& reason);
  std::size_t server() const { return hosts_.size() - 1; }

  kernel::Simulation& simulation_;
  std::vector<Host> hosts_;  // the devices in order, then the server
};

}  // namespace fedclock::platform
