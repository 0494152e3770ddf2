// The world that tasks run in: devices around one server.
//
//   device d --- up_d ---> (gateway's up) ---> (ingress) ---> server        an upload of B bytes
//   device d <-- down_d -- (gateway's down) <- (egress) <---- server        a download of B bytes
//
// Each device has a link of its own for each direction, so uploads and downloads do not disturb
// each other; in a WiFi cell all its devices share the air in both directions instead. All devices
// of a gateway share its links, and all devices the server's, which exist only when their bandwidth
// is given. A transfer with another place than the server takes only what lies between:
//
//   device d --- up_d ---> gateway --- gateway's up ---> (ingress) ---> server
//   device a --- up_a ---> (its gateway's up) ---> (b's gateway's down) --- down_b ---> device b
//
// Devices behind one gateway reach each other without its backhaul, those of one WiFi cell over the
// air twice. Latencies are paid once by each transfer, one way, of all links on it. How long a
// transfer lasts is in sim/kernel/simulation.h (NetworkModel); work of W flops on a device of speed
// S lasts W/S, or longer when the device works on several things at once: they get equal shares.
//
// Devices come and go, links are cut, bandwidths and power modes change, all of it as pure
// functions of the date that are asked only while something is under way that they matter to. So a
// fleet costs what it does, not what it is.
//
// Only links that can be a bottleneck should be described: one that is shared couples all its
// flows, and the cost of an event grows with the flows that are under way on it. Where nothing is
// shared between devices, dates follow in closed form (sim/platform/fair_share.h), and SimGrid is
// not asked; where it is asked for nothing at all, it does not even hear of the fleet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "sim/kernel/activity.h"
#include "sim/kernel/outcome.h"
#include "sim/kernel/simulation.h"
#include "sim/platform/fair_share.h"
#include "sim/platform/spec.h"
#include "sim/platform/topology.h"

namespace fedclock::platform {

class Platform;

// Where updates can be merged, and data come from or go to.
struct Place {
  enum Kind { kServer, kGateway, kDevice };
  Kind kind = kServer;
  std::size_t index = 0;  // of the gateway or the device

  bool operator==(const Place&) const = default;
};

// What Platform's functions return: await it, for the interval in which it ran. Throws
// kernel::Failed when the device (or for transfers its link, its gateway or the other end with its
// own) is off, or goes off meanwhile. What ends at the very date at which something goes off has
// ended well. Among events of the same date, those of gateways come between the devices' and the
// server's: gateway g counts as device device_count() + g, in Failed too.
class [[nodiscard]] DeviceOperation final : public kernel::ActivityOperation, ShareUser {
 public:
  // Platform makes these. Work of so many flops, or of `by_mode` in each power mode, where its time
  // does not go with 1 / speed.
  DeviceOperation(Platform& platform, std::size_t host, double flops,
                  std::vector<double> by_mode = {});
  // A transfer between the host, whose operation it is, and another: kDownload or kUpload, as the
  // host sees it.
  DeviceOperation(Platform& platform, std::size_t host, kernel::EventKind kind, double bytes,
                  std::size_t other);

  Interval await_resume() {
    count_wifi_energy();
    return result();
  }
  // Share of the bytes or of the work that was done when it broke off; 1 where it did not.
  double done() const { return done_; }
  std::string describe() const override;

 private:
  void begin() override;
  void on_date() override;
  void abandon() override;
  void on_share(double end_s) override;
  std::string failure() const override;

  bool is_transfer() const { return kind() != kernel::EventKind::kCompute; }
  // Of one end of a transfer.
  bool sends(std::size_t host) const;
  simgrid::s4u::Link* link_of(std::size_t host) const;  // its own, in that direction
  bool check_presence();
  void adapt_links();
  void adapt_link(std::size_t host);
  void adapt_mode();
  void wait_on();
  void count_wifi_energy();
  FairShare* closed_form() const;
  void start();
  void start_activity(double share);
  double whole() const;
  double activity_share() const;

  Platform* platform_;
  std::size_t host_;
  std::size_t other_;  // the other end of a transfer; of work: the host itself
  double latency_s_ = 0;
  double amount_;
  std::vector<double> by_mode_;
  std::size_t mode_ = 0;
  double start_s_ = 0;        // date at which the latency is over
  double next_change_s_ = 0;  // of what it depends on
  double end_s_ = 0;          // in closed form: date at which it is done; infinity: not begun
  double begun_share_ = 0;    // with which the present activity began
  double done_ = 1;
  bool begun_ = false;    // it was possible at first
  bool started_ = false;  // the latency is over
};

// One in a simulation, and made before the simulation runs.
class Platform {
 public:
  // InputError as sim/platform/spec.h says.
  Platform(kernel::Simulation& simulation, const PlatformSpec& spec);
  Platform(const Platform&) = delete;
  Platform& operator=(const Platform&) = delete;

  // co_await these. A missing or zero cost is an error: InputError if bytes or flops are not finite
  // or not above 0. Bytes are rounded up to whole ones. ProgrammerError for a device out of range.
  DeviceOperation download(std::size_t device, double bytes);
  DeviceOperation upload(std::size_t device, double bytes);
  // The same with another place, where PlatformSpec::aggregators says that such data go there: the
  // gateway that the device is behind, or another device. ProgrammerError for any other gateway and
  // for the device itself.
  DeviceOperation download(std::size_t device, double bytes, Place from);
  DeviceOperation upload(std::size_t device, double bytes, Place to);
  // Between a gateway and the server.
  DeviceOperation gateway_download(std::size_t gateway, double bytes);
  DeviceOperation gateway_upload(std::size_t gateway, double bytes);
  DeviceOperation compute(std::size_t device, double flops);
  // Work that takes so many flops in each of the device's power modes: when the mode changes, the
  // share of the work that is left goes on in the new one.
  DeviceOperation compute_by_mode(std::size_t device, std::vector<double> flops);
  DeviceOperation compute_on_server(double flops);
  // InputError where the gateway has no speed.
  DeviceOperation compute_on_gateway(std::size_t gateway, double flops);

  std::size_t device_count() const { return hosts_.size() - 1 - gateway_count_; }
  std::size_t gateway_count() const { return gateway_count_; }
  // The one that the device is behind.
  std::optional<std::size_t> gateway_of(std::size_t device) const { return hosts_[device].gateway; }
  const std::string& device_name(std::size_t device) const { return hosts_[device].name; }
  const std::string& name_of(Place place) const { return hosts_[host_of(place)].name; }

  // Tells mode changes that go by rounds; work under way keeps the mode that it began with.
  void enter_round(int64_t round) { round_ = round; }

  // Whether a transfer with the device would begin now, and the first date from now on at which one
  // would; infinity: never again.
  bool is_reachable(std::size_t device);
  double next_reachable_s(std::size_t device);
  // That date for transfers between the device and this place, in either direction.
  double next_reachable_s(std::size_t device, Place from);
  // And between the gateway and the server.
  double next_gateway_reachable_s(std::size_t gateway);
  // And for work on the device itself, and on the server.
  double next_on_s(std::size_t device);
  double next_server_on_s();
  bool is_server_on() { return next_server_on_s() <= simulation_.now_s(); }
  double next_on_s(Place place);
  bool is_on(Place place) { return next_on_s(place) <= simulation_.now_s(); }
  // Whether all devices are always reachable.
  bool is_always_reachable() const { return always_reachable_; }
  // Seconds of [start, end] in which the device is off; its link does not matter.
  double off_seconds(std::size_t device, double start_s, double end_s);

  bool counts_energy() const { return energy_; }
  // Joules that the device has drawn since the start, as SimGrid's plug-ins count them: idle and
  // busy power of the host, and its links. They know nothing of when the device is off: take
  // differences over intervals in which it is on.
  double joules(std::size_t device) const;
  // What it draws while it is on and does nothing.
  double idle_w(std::size_t device) const { return hosts_[device].idle_w; }

 private:
  friend class DeviceOperation;

  struct Host {
    std::string name;
    Built::Host built;
    double idle_w = 0;
    // Of a WiFi station, whose link SimGrid's plug-in leaves out: J a byte, and the sum so far.
    double wifi_joules_byte = 0;
    double wifi_joules = 0;
    Presence::State reach{true, -1};     // as far as anybody has asked
    std::shared_ptr<Presence> presence;  // of the machine
    std::shared_ptr<Presence> way;       // of its link and its gateway
    std::optional<std::size_t> gateway;  // of a device
    std::shared_ptr<const Bandwidth> bandwidth;
    std::shared_ptr<const ModeChanges> mode_changes;
    std::vector<double> mode_speeds_flops;
    FairShare up, down, processor;  // in closed form
    bool computes = true;           // a gateway without a speed does not
  };
  struct Broken {
    const char* what = nullptr;  // of what is not as it is needed, the first; nullptr: nothing
    const std::string* name = nullptr;
    Presence::State state{true, std::numeric_limits<double>::infinity()};  // of all together
  };
  // Of work on the host, where the other one is the same, or of a transfer between the two.
  Broken broken(std::size_t host, std::size_t other, double date_s) const;

  void add_device(const PlatformSpec& spec, std::size_t index, const Built::Host& built);
  void add_gateway(const GatewaySpec& gateway, const Built::Host& built);
  void add_server(const ServerSpec& server, const Built::Host& built);

  double next_reachable_between_s(std::size_t host, std::size_t other) const;

  std::size_t server() const { return hosts_.size() - 1; }
  std::size_t host_of(Place place) const;
  std::size_t gateway_host(std::size_t gateway) const;  // where gateways exchange data
  // The place's, as the other end of the device's transfers.
  std::size_t other_end(std::size_t device, Place place) const;
  // Of a transfer between a device or a gateway and another place, one way.
  double latency_s(std::size_t host, std::size_t other, kernel::EventKind kind) const;
  double device_latency_s(std::size_t from, std::size_t to) const;

  kernel::Simulation& simulation_;
  std::vector<Host> hosts_;  // the devices in order, then the gateways, then the server
  std::size_t gateway_count_;
  Aggregators aggregators_;
  std::function<double(std::size_t, std::size_t)> device_latency_s_;  // see Built
  int64_t round_ = 0;
  bool always_reachable_ = true;
  bool energy_ = false;
  bool closed_up_, closed_down_, closed_work_;  // what is computed without SimGrid
};

}  // namespace fedclock::platform
