// What a platform is built from: devices around one server, some of them behind gateways.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/kernel/simulation.h"
#include "sim/platform/bandwidth.h"
#include "sim/platform/power_modes.h"
#include "sim/platform/presence.h"

namespace fedclock::platform {

using kernel::NetworkModel;

// Electric power of a device in one of its modes.
struct Watts {
  double idle_w = 0;
  double busy_w = 0;  // while it computes
};

struct DeviceSpec {
  std::string name;         // unique, also against the server's
  double speed_flops = 0;   // flop/s that it really reaches
  double up_bytes_s = 0;    // byte/s from the device to the server; not used in a WiFi cell
  double down_bytes_s = 0;  // byte/s from the server to the device; likewise
  double latency_s = 0;     // one way

  // The gateway that it is behind, by its place in PlatformSpec::gateways; none: the server is
  // next.
  std::optional<std::size_t> gateway = std::nullopt;
  // In a WiFi cell: byte/s that this station reaches when it has the air for itself.
  double wifi_bytes_s = 0;
  // Takes the place of the two rates above where it is given. Not in a WiFi cell.
  std::shared_ptr<const Bandwidth> bandwidth = nullptr;

  // When the device is on, and when its link is whole; nullptr: always.
  std::shared_ptr<Presence> presence = nullptr;
  std::shared_ptr<Presence> link_presence = nullptr;

  // Power modes: speeds of all of them where they change, then `speed_flops` is not used.
  std::vector<double> mode_speeds_flops = {};
  std::shared_ptr<const ModeChanges> mode_changes = nullptr;

  // Of each mode (one where there are no modes); needed where PlatformSpec::energy is set.
  std::vector<Watts> watts = {};
  double radio_w = 0;  // besides, while its link carries at its full rate
};

// A router between devices and the server: an edge server, an access point, a base station. All its
// devices share its backhaul. Its machine, if it has one, is at the router: nothing lies between.
struct GatewaySpec {
  std::string name;
  double up_bytes_s = 0;
  double down_bytes_s = 0;
  double latency_s = 0;  // one way, of the backhaul
  // Its devices share the air: a station of rate r takes B / r seconds of it for B bytes, in either
  // direction, and flows that are limited by it alone get equal rates.
  bool wifi = false;
  std::shared_ptr<Presence> presence = nullptr;      // of the router and the machine
  std::optional<double> speed_flops = std::nullopt;  // of its machine; none: it computes nothing
};

struct ServerSpec {
  std::string name;
  double speed_flops = 0;
  std::optional<double> ingress_bytes_s =
      std::nullopt;  // shared by all uploads; none: never a bottleneck
  std::optional<double> egress_bytes_s = std::nullopt;  // shared by all downloads
  std::shared_ptr<Presence> presence = nullptr;
};

// The network of a SimGrid platform file (XML, DTD 4.1) in place of gateways and links: hosts are
// the devices and the server; speeds of computing stay those of the specs.
struct SimGridFile {
  std::string path;
  std::string server_host;
  std::vector<std::string> device_hosts;  // of each device; empty: all other hosts, by name
};

// Who exchanges data with devices: the server always does.
enum class Aggregators {
  kServer,    // it alone
  kGateways,  // each gateway with the devices behind it, and with the server
  kDevices,   // any device with any other
};

struct PlatformSpec {
  std::vector<DeviceSpec> devices;
  ServerSpec server;
  NetworkModel model = NetworkModel::kFluid;
  std::vector<GatewaySpec> gateways;
  std::optional<SimGridFile> file;
  bool energy = false;  // whether SimGrid's energy plug-ins count joules
  // Whether what devices share with nobody is computed without SimGrid: the same dates, faster.
  bool closed_form = true;
  Aggregators aggregators = Aggregators::kServer;
};

// InputError for a speed or bandwidth that is not finite or not above 0, a latency that is not
// finite or below 0, an empty name, two of the same name, power that is missing where energy is
// counted, gateways that exchange data on the network of a file.
void check(const PlatformSpec& spec);

}  // namespace fedclock::platform
