#include "sim/platform/platform.h"

#include <fmt/format.h>
#include <simgrid/s4u.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "models/common/error.h"

namespace fedclock::platform {

namespace s4u = simgrid::s4u;
using kernel::EventKind;

namespace {

void require_rate(double value, const std::string& owner, const char* field, const char* unit) {
  if (std::isfinite(value) && value > 0) return;
  throw InputError(owner + ": " + field + " is " + fmt::to_string(value) +
                   "; it must be a finite number of " + unit + " above 0");
}

void require_amount(double value, const std::string& owner, const char* what, const char* unit) {
  if (std::isfinite(value) && value > 0) return;
  throw InputError(owner + ": " + what + " of " + fmt::to_string(value) + " " + unit +
                   "; a cost that is missing or zero is an error, give a finite one above 0");
}

void check(const PlatformSpec& spec) {
  std::vector<std::string_view> names;
  names.reserve(spec.devices.size() + 1);
  for (std::size_t i = 0; i < spec.devices.size(); ++i) {
    const DeviceSpec& device = spec.devices[i];
    if (device.name.empty()) throw InputError("device " + std::to_string(i) + " has no name");
    const std::string owner = "device '" + device.name + "'";
    require_rate(device.speed_flops, owner, "speed_flops", "flop/s");
    require_rate(device.up_bytes_s, owner, "up_bytes_s", "byte/s");
    require_rate(device.down_bytes_s, owner, "down_bytes_s", "byte/s");
    if (!std::isfinite(device.latency_s) || device.latency_s < 0) {
      throw InputError(owner + ": latency_s is " + fmt::to_string(device.latency_s) +
                       "; it must be a finite number of seconds, 0 or above");
    }
    names.push_back(device.name);
  }
  if (spec.server.name.empty()) throw InputError("the server has no name");
  const std::string owner = "server '" + spec.server.name + "'";
  require_rate(spec.server.speed_flops, owner, "speed_flops", "flop/s");
  if (spec.server.ingress_bytes_s) {
    require_rate(*spec.server.ingress_bytes_s, owner, "ingress_bytes_s", "byte/s");
  }
  if (spec.server.egress_bytes_s) {
    require_rate(*spec.server.egress_bytes_s, owner, "egress_bytes_s", "byte/s");
  }
  names.push_back(spec.server.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    throw InputError("two devices (or a device and the server) are named '" + std::string(*twice) +
                     "'; names must differ");
  }
}

}  // namespace

DeviceOperation::DeviceOperation(Platform& platform, std::size_t host, EventKind kind,
                                 double amount)
    : ActivityOperation(
          platform.simulation_,
          host == platform.server() ? kernel::kServer : static_cast<kernel::DeviceId>(host), kind),
      platform_(&platform),
      host_(host),
      amount_(amount) {}

void DeviceOperation::begin() {
  const Platform::Host& host = platform_->hosts_[host_];
  const Platform::Host& server = platform_->hosts_.back();
  enter();
  if (!host.on) {
    fail("'" + host.name + "' is off");
  } else if (kind() != EventKind::kCompute && !server.on) {
    fail("'" + server.name + "' is off");
  } else if (kind() != EventKind::kCompute && host.latency_s > 0) {
    arm(agenda().now_s() + host.latency_s);
  } else {
    start_activity();
  }
}

void DeviceOperation::start_activity() {
  s4u::Host& host = *platform_->hosts_[host_].host;
  s4u::Host& server = *platform_->hosts_.back().host;
  switch (kind()) {
    case EventKind::kDownload:
      start_transfer(server, host, static_cast<std::uint64_t>(std::ceil(amount_)));
      break;
    case EventKind::kUpload:
      start_transfer(host, server, static_cast<std::uint64_t>(std::ceil(amount_)));
      break;
    default: start_execution(host, amount_);
  }
}

void DeviceOperation::abandon() {
  leave();
  ActivityOperation::abandon();
}

void DeviceOperation::enter() {
  DeviceOperation*& first = platform_->hosts_[host_].under_way;
  next_ = first;
  if (next_ != nullptr) next_->previous_ = this;
  first = this;
  listed_ = true;
}

void DeviceOperation::leave() {
  if (!listed_) return;
  listed_ = false;
  if (next_ != nullptr) next_->previous_ = previous_;
  (previous_ != nullptr ? previous_->next_ : platform_->hosts_[host_].under_way) = next_;
}

std::string DeviceOperation::describe() const {
  const char* what = kind() == EventKind::kDownload ? "a download to '"
                     : kind() == EventKind::kUpload ? "an upload from '"
                                                    : "work on '";
  return what + platform_->hosts_[host_].name + "'";
}

std::string DeviceOperation::failure() const { return describe() + " broke off"; }

Platform::Platform(kernel::Simulation& simulation, const PlatformSpec& spec)
    : simulation_(simulation) {
  check(spec);
  simulation.set_network_model(spec.model);
  build(spec);
}

void Platform::build(const PlatformSpec& spec) {
  // In the fluid model fedclock itself waits for the latency (see NetworkModel).
  const bool fluid = spec.model == NetworkModel::kFluid;
  s4u::NetZone* zone = s4u::create_star_zone("star");
  const auto link = [zone](const std::string& name, double bytes_s, double latency_s) {
    return s4u::LinkInRoute(zone->create_link(name, bytes_s)->set_latency(latency_s)->seal());
  };
  const auto add_host = [this, zone](const std::string& name, double speed_flops, double latency_s,
                                     const std::vector<s4u::LinkInRoute>& out,
                                     const std::vector<s4u::LinkInRoute>& in) {
    s4u::Host* host = zone->create_host(name, speed_flops)->seal();
    zone->add_route(host->get_netpoint(), nullptr, nullptr, nullptr, out, false);
    zone->add_route(nullptr, host->get_netpoint(), nullptr, nullptr, in, false);
    hosts_.push_back({name, host, latency_s, nullptr, true});
  };
  hosts_.reserve(spec.devices.size() + 1);
  for (const DeviceSpec& device : spec.devices) {
    const double link_latency_s = fluid ? 0 : device.latency_s;
    add_host(device.name, device.speed_flops, fluid ? device.latency_s : 0,
             {link(device.name + ":up", device.up_bytes_s, link_latency_s)},
             {link(device.name + ":down", device.down_bytes_s, link_latency_s)});
  }
  std::vector<s4u::LinkInRoute> egress;
  std::vector<s4u::LinkInRoute> ingress;
  const ServerSpec& server = spec.server;
  if (server.egress_bytes_s) egress = {link(server.name + ":egress", *server.egress_bytes_s, 0)};
  if (server.ingress_bytes_s)
    ingress = {link(server.name + ":ingress", *server.ingress_bytes_s, 0)};
  add_host(server.name, server.speed_flops, 0, egress, ingress);
  zone->seal();
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

DeviceOperation Platform::compute_on_server(double flops) {
  require_amount(flops, hosts_.back().name, "work", "flops");
  return DeviceOperation(*this, server(), EventKind::kCompute, flops);
}

void Platform::set_device_on(std::size_t device, bool on) {
  ensure(device < device_count(), "a device that does not exist goes on or off");
  set_on(device, on);
}

bool Platform::is_device_on(std::size_t device) const {
  ensure(device < device_count(), "asked whether a device is on that does not exist");
  return hosts_[device].on;
}

void Platform::set_server_on(bool on) { set_on(server(), on); }

bool Platform::is_server_on() const { return hosts_.back().on; }

void Platform::set_on(std::size_t index, bool on) {
  Host& host = hosts_[index];
  if (host.on == on) return;
  host.on = on;
  if (on) {
    host.host->turn_on();
    return;
  }
  const std::string reason = "'" + host.name + "' went off";
  fail_all(index, reason);
  if (index == server()) {
    for (std::size_t device = 0; device < device_count(); ++device) fail_all(device, reason);
  }
  host.host->turn_off();
}

void Platform::fail_all(std::size_t index, const std::string& reason) {
  const bool server_is_off = !hosts_.back().on;
  DeviceOperation* next = nullptr;
  for (DeviceOperation* operation = hosts_[index].under_way; operation; operation = next) {
    next = operation->next_;
    // What a device computes goes on when only the server is off.
    if (hosts_[index].on && server_is_off && operation->kind() == EventKind::kCompute) continue;
    operation->fail(reason);
  }
}

}  // namespace fedclock::platform
