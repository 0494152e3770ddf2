#include "sim/platform/platform.h"

#include <fmt/format.h>
#include <simgrid/plugins/energy.h>
#include <simgrid/s4u.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/common/error.h"

namespace fedclock::platform {

using kernel::EventKind;

namespace {

void require_amount(double value, const std::string& owner, const char* what, const char* unit) {
  if (std::isfinite(value) && value > 0) return;
  throw InputError(owner + ": " + what + " of " + fmt::to_string(value) + " " + unit +
                   "; a cost that is missing or zero is an error, give a finite one above 0");
}

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
    : simulation_(simulation), energy_(spec.energy) {
  // SimGrid is asked where devices share something, where it models more than the sharing, and
  // where it counts energy.
  // A host of a platform file has a speed of its own, which is not the device's: its work is never
  // SimGrid's.
  const bool closed = spec.closed_form && !spec.energy;
  const bool alone =
      closed && !spec.file && spec.gateways.empty() && spec.model == NetworkModel::kFluid;
  closed_work_ = closed || spec.file;
  closed_up_ = alone && !spec.server.ingress_bytes_s;
  closed_down_ = alone && !spec.server.egress_bytes_s;
  const bool all_closed = closed_up_ && closed_down_;
  if (all_closed) check(spec);
  Built built = all_closed ? without_simgrid(spec) : build(simulation, spec);
  hosts_.reserve(spec.devices.size() + 1);
  for (std::size_t i = 0; i < spec.devices.size(); ++i) {
    const DeviceSpec& device = spec.devices[i];
    Host& host = hosts_.emplace_back();
    host.name = device.name;
    host.built = built.devices[i];
    const double speed_flops =
        device.mode_speeds_flops.empty() ? device.speed_flops : device.mode_speeds_flops[0];
    host.presence = device.presence;
    host.way = both(device.link_presence,
                    device.gateway ? spec.gateways[*device.gateway].presence : nullptr);
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
  Host& server = hosts_.emplace_back();
  server.name = spec.server.name;
  server.built = built.server;
  server.presence = spec.server.presence;
  server.processor = FairShare(spec.server.speed_flops);
  always_reachable_ = always_reachable_ && !server.presence;
}

DeviceOperation Platform::download(std::size_t device, double bytes) {
  ensure(device < device_count(), "a download to a device that does not exist");
  require_amount(bytes, device_name(device), "a download", "bytes");
  return DeviceOperation(*this, device, EventKind::kDownload, bytes);
}

DeviceOperation Platform::upload(std::size_t device, double bytes) {
  ensure(device < device_count(), "an upload from a device that does not exist");
  require_amount(bytes, device_name(device), "an upload", "bytes");
  return DeviceOperation(*this, device, EventKind::kUpload, bytes);
}

DeviceOperation Platform::compute(std::size_t device, double flops) {
  ensure(device < device_count(), "work on a device that does not exist");
  require_amount(flops, device_name(device), "work", "flops");
  return DeviceOperation(*this, device, EventKind::kCompute, flops);
}

DeviceOperation Platform::compute_by_mode(std::size_t device, std::vector<double> flops) {
  ensure(device < device_count(), "work on a device that does not exist");
  const std::size_t modes = std::max<std::size_t>(1, hosts_[device].mode_speeds_flops.size());
  ensure(flops.size() == modes, "work by mode that does not name every mode");
  for (const double of_mode : flops) require_amount(of_mode, device_name(device), "work", "flops");
  const double first = flops.front();
  return DeviceOperation(*this, device, EventKind::kCompute, first, std::move(flops));
}

DeviceOperation Platform::compute_on_server(double flops) {
  require_amount(flops, server().name, "work", "flops");
  return DeviceOperation(*this, hosts_.size() - 1, EventKind::kCompute, flops);
}

Platform::Broken Platform::broken(const Host& host, bool transfer, double date_s) const {
  Broken answer;
  const auto needs = [&](Presence* presence, const Host& owner, const char* what) {
    if (presence == nullptr) return;
    const Presence::State state = presence->at(date_s);
    if (!state.on && answer.what == nullptr) {
      answer.what = what;
      answer.name = &owner.name;
    }
    answer.state = combined(answer.state, state);
  };
  needs(host.presence.get(), host, "off");
  if (!transfer) return answer;
  needs(host.way.get(), host, "out of reach");
  needs(hosts_.back().presence.get(), hosts_.back(), "off");
  return answer;
}

bool Platform::is_reachable(std::size_t device) {
  Host& host = hosts_[device];
  const double now_s = simulation_.now_s();
  if (now_s >= host.reach.until_s) host.reach = broken(host, true, now_s).state;
  return host.reach.on;
}

double Platform::next_reachable_s(std::size_t device) {
  return platform::next_on_s(simulation_.now_s(), [this, device](double date_s) {
    return broken(hosts_[device], true, date_s).state;
  });
}

double Platform::next_on_s(std::size_t device) {
  return platform::next_on_s(hosts_[device].presence.get(), simulation_.now_s());
}

double Platform::next_server_on_s() {
  return platform::next_on_s(server().presence.get(), simulation_.now_s());
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
