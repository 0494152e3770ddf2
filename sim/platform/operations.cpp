// What can be awaited of a platform: which two ends each operation has.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/common/error.h"
#include "sim/platform/platform.h"

namespace fedclock::platform {

using kernel::EventKind;

namespace {

void require_amount(double value, const std::string& owner, const char* what, const char* unit) {
  if (std::isfinite(value) && value > 0) return;
  throw InputError(owner + ": " + what + " of " + fmt::to_string(value) + " " + unit +
                   "; a cost that is missing or zero is an error, give a finite one above 0");
}

}  // namespace

std::size_t Platform::host_of(Place place) const {
  switch (place.kind) {
    case Place::kServer: return server();
    case Place::kGateway:
      ensure(place.index < gateway_count(), "a gateway that does not exist");
      return device_count() + place.index;
    default: ensure(place.index < device_count(), "a place that is a device that does not exist");
  }
  return place.index;
}

std::size_t Platform::other_end(std::size_t device, Place place) const {
  if (place.kind == Place::kGateway) {
    ensure(aggregators_ == Aggregators::kGateways, "a gateway that exchanges no data");
    ensure(hosts_[device].gateway == place.index, "a gateway that the device is not behind");
  }
  if (place.kind == Place::kDevice) {
    ensure(aggregators_ == Aggregators::kDevices, "devices that exchange no data");
    ensure(place.index != device, "a transfer from a device to itself");
  }
  return host_of(place);
}

DeviceOperation Platform::download(std::size_t device, double bytes) {
  return download(device, bytes, Place{});
}

DeviceOperation Platform::upload(std::size_t device, double bytes) {
  return upload(device, bytes, Place{});
}

DeviceOperation Platform::download(std::size_t device, double bytes, Place from) {
  ensure(device < device_count(), "a download to a device that does not exist");
  require_amount(bytes, device_name(device), "a download", "bytes");
  return DeviceOperation(*this, device, EventKind::kDownload, bytes, other_end(device, from));
}

DeviceOperation Platform::upload(std::size_t device, double bytes, Place to) {
  ensure(device < device_count(), "an upload from a device that does not exist");
  require_amount(bytes, device_name(device), "an upload", "bytes");
  return DeviceOperation(*this, device, EventKind::kUpload, bytes, other_end(device, to));
}

DeviceOperation Platform::gateway_download(std::size_t gateway, double bytes) {
  const std::size_t host = gateway_host(gateway);
  require_amount(bytes, hosts_[host].name, "a download", "bytes");
  return DeviceOperation(*this, host, EventKind::kDownload, bytes, server());
}

DeviceOperation Platform::gateway_upload(std::size_t gateway, double bytes) {
  const std::size_t host = gateway_host(gateway);
  require_amount(bytes, hosts_[host].name, "an upload", "bytes");
  return DeviceOperation(*this, host, EventKind::kUpload, bytes, server());
}

DeviceOperation Platform::compute(std::size_t device, double flops) {
  ensure(device < device_count(), "work on a device that does not exist");
  require_amount(flops, device_name(device), "work", "flops");
  return DeviceOperation(*this, device, flops);
}

DeviceOperation Platform::compute_by_mode(std::size_t device, std::vector<double> flops) {
  ensure(device < device_count(), "work on a device that does not exist");
  const std::size_t modes = std::max<std::size_t>(1, hosts_[device].mode_speeds_flops.size());
  ensure(flops.size() == modes, "work by mode that does not name every mode");
  for (const double of_mode : flops) require_amount(of_mode, device_name(device), "work", "flops");
  const double first = flops.front();
  return DeviceOperation(*this, device, first, std::move(flops));
}

DeviceOperation Platform::compute_on_server(double flops) {
  require_amount(flops, hosts_[server()].name, "work", "flops");
  return DeviceOperation(*this, server(), flops);
}

DeviceOperation Platform::compute_on_gateway(std::size_t gateway, double flops) {
  const Host& host = hosts_[gateway_host(gateway)];
  if (!host.computes) {
    throw InputError("gateway '" + host.name +
                     "' is given work and has no machine: name its `profile`");
  }
  require_amount(flops, host.name, "work", "flops");
  return DeviceOperation(*this, gateway_host(gateway), flops);
}

std::size_t Platform::gateway_host(std::size_t gateway) const {
  ensure(aggregators_ == Aggregators::kGateways, "a gateway that exchanges no data");
  return host_of({Place::kGateway, gateway});
}

double Platform::latency_s(std::size_t host, std::size_t other, EventKind kind) const {
  const Built::Host& built = hosts_[host].built;
  const bool upload = kind == EventKind::kUpload;
  if (other == server()) return upload ? built.up_latency_s : built.down_latency_s;
  if (other >= device_count()) return built.own_latency_s;  // the gateway that it is behind
  return upload ? device_latency_s(host, other) : device_latency_s(other, host);
}

double Platform::device_latency_s(std::size_t from, std::size_t to) const {
  if (device_latency_s_) return device_latency_s_(from, to);
  const Host &sender = hosts_[from], &receiver = hosts_[to];
  // Those of the gateways between the two are part of the ways to and from the server.
  if (sender.gateway != receiver.gateway) {
    return sender.built.up_latency_s + receiver.built.down_latency_s;
  }
  return sender.built.own_latency_s + receiver.built.own_latency_s;
}

}  // namespace fedclock::platform
