#include "sim/platform/platform.h"

#include <simgrid/plugins/energy.h>
#include <simgrid/s4u.hpp>

#include <utility>

#include "models/common/error.h"

namespace fedclock::platform {

using kernel::EventKind;

namespace {

// What is known of a platform that needs no hosts and links.
Built without_simgrid(const PlatformSpec& spec) {
  Built built;
  for (const DeviceSpec& device : spec.devices) {
    built.devices.push_back({.up_latency_s = device.latency_s, .down_latency_s = device.latency_s});
  }
  return built;
}

}  // namespace

Platform::Platform(kernel::Simulation& simulation, const PlatformSpec& spec)
    : simulation_(simulation),
      gateway_count_(spec.gateways.size()),
      aggregators_(spec.aggregators),
      energy_(spec.energy) {
  // SimGrid is asked where devices share something, where it models more than the sharing, and
  // where it counts energy.
  // A host of a platform file has a speed of its own, which is not the device's: its work is never
  // SimGrid's.
  // Of the flows on one link either all are SimGrid's or none, or they would not see each other.
  // So all transfers are where there is a gateway: those with the server share its backhaul, and
  // those with the gateway share the device's own link with them. All are, too, where devices
  // exchange data with each other: such a flow is limited by two links, each of which it may share
  // with others, also with the server's.
  const bool closed = spec.closed_form && !spec.energy;
  const bool alone = closed && !spec.file && spec.gateways.empty() &&
                     spec.model == NetworkModel::kFluid &&
                     spec.aggregators != Aggregators::kDevices;
  closed_work_ = closed || spec.file;
  closed_up_ = alone && !spec.server.ingress_bytes_s;
  closed_down_ = alone && !spec.server.egress_bytes_s;
  const bool all_closed = closed_up_ && closed_down_;
  if (all_closed) check(spec);
  Built built = all_closed ? without_simgrid(spec) : build(simulation, spec);
  hosts_.reserve(spec.devices.size() + spec.gateways.size() + 1);
  for (std::size_t i = 0; i < spec.devices.size(); ++i) add_device(spec, i, built.devices[i]);
  for (std::size_t g = 0; g < gateway_count_; ++g) add_gateway(spec.gateways[g], built.gateways[g]);
  add_server(spec.server, built.server);
  device_latency_s_ = std::move(built.device_latency_s);
}

void Platform::add_device(const PlatformSpec& spec, std::size_t index, const Built::Host& built) {
  const DeviceSpec& device = spec.devices[index];
  Host& host = hosts_.emplace_back();
  host.name = device.name;
  host.built = built;
  const double speed_flops =
      device.mode_speeds_flops.empty() ? device.speed_flops : device.mode_speeds_flops[0];
  host.presence = device.presence;
  host.way = both(device.link_presence,
                  device.gateway ? spec.gateways[*device.gateway].presence : nullptr);
  host.gateway = device.gateway;
  host.bandwidth = device.bandwidth;
  host.mode_changes = device.mode_changes;
  host.mode_speeds_flops = device.mode_speeds_flops;
  host.up = FairShare(device.up_bytes_s);
  host.down = FairShare(device.down_bytes_s);
  host.processor = FairShare(speed_flops);
  if (spec.energy) host.idle_w = device.watts.front().idle_w;
  if (spec.energy && device.gateway && spec.gateways[*device.gateway].wifi) {
    host.wifi_joules_byte = device.radio_w / device.wifi_bytes_s;
  }
  always_reachable_ = always_reachable_ && !host.presence && !host.way;
}

void Platform::add_gateway(const GatewaySpec& gateway, const Built::Host& built) {
  Host& host = hosts_.emplace_back();
  host.name = gateway.name;
  host.built = built;
  host.presence = gateway.presence;
  host.computes = gateway.speed_flops.has_value();
  host.processor = FairShare(gateway.speed_flops.value_or(1));
}

void Platform::add_server(const ServerSpec& server, const Built::Host& built) {
  Host& host = hosts_.emplace_back();
  host.name = server.name;
  host.built = built;
  host.presence = server.presence;
  host.processor = FairShare(server.speed_flops);
  always_reachable_ = always_reachable_ && !host.presence;
}

double Platform::off_seconds(std::size_t device, double start_s, double end_s) {
  Presence* presence = hosts_[device].presence.get();
  if (presence == nullptr) return 0;
  return end_s - start_s - on_seconds(presence, start_s, end_s);
}

double Platform::joules(std::size_t device) const {
  ensure(energy_, "energy is asked for that is not counted");
  const Built::Host& host = hosts_[device].built;
  double sum = sg_host_get_consumed_energy(host.host) + hosts_[device].wifi_joules;
  if (host.up != nullptr) sum += sg_link_get_consumed_energy(host.up);
  if (host.down != nullptr) sum += sg_link_get_consumed_energy(host.down);
  return sum;
}

}  // namespace fedclock::platform
