#include "sim/platform/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "models/common/error.h"

namespace fedclock::platform {

namespace {

void require_above(double value, const std::string& owner, const char* field, const char* unit) {
  if (std::isfinite(value) && value > 0) return;
  throw InputError(owner + ": " + field + " is " + fmt::to_string(value) +
                   "; it must be a finite number of " + unit + " above 0");
}

void require_not_below(double value, const std::string& owner, const char* field,
                       const char* unit) {
  if (std::isfinite(value) && value >= 0) return;
  throw InputError(owner + ": " + field + " is " + fmt::to_string(value) +
                   "; it must be a finite number of " + unit + ", 0 or above");
}

std::size_t mode_count(const DeviceSpec& device) {
  return std::max<std::size_t>(1, device.mode_speeds_flops.size());
}

void check_device(const DeviceSpec& device, const PlatformSpec& spec) {
  const std::string owner = "device '" + device.name + "'";
  if (device.mode_speeds_flops.empty()) {
    require_above(device.speed_flops, owner, "speed_flops", "flop/s");
  }
  for (const double speed_flops : device.mode_speeds_flops) {
    require_above(speed_flops, owner, "mode_speeds_flops", "flop/s");
  }
  ensure(!device.gateway || *device.gateway < spec.gateways.size(), "a gateway out of range");
  if (device.gateway && spec.gateways[*device.gateway].wifi) {
    require_above(device.wifi_bytes_s, owner, "wifi_bytes_s", "byte/s");
    ensure(!device.bandwidth, "bandwidth that changes in a WiFi cell");
  } else if (!spec.file && !device.bandwidth) {
    require_above(device.up_bytes_s, owner, "up_bytes_s", "byte/s");
    require_above(device.down_bytes_s, owner, "down_bytes_s", "byte/s");
  }
  require_not_below(device.latency_s, owner, "latency_s", "seconds");
  if (!spec.energy) return;
  if (device.watts.size() != mode_count(device)) {
    throw InputError(owner + ": energy is counted, and its power is not known in every mode");
  }
  for (const Watts& watts : device.watts) {
    require_not_below(watts.idle_w, owner, "idle_w", "watts");
    require_not_below(watts.busy_w - watts.idle_w, owner, "busy_w less idle_w", "watts");
  }
  require_not_below(device.radio_w, owner, "radio_w", "watts");
}

void check_server(const ServerSpec& server) {
  const std::string owner = "server '" + server.name + "'";
  require_above(server.speed_flops, owner, "speed_flops", "flop/s");
  if (server.ingress_bytes_s) {
    require_above(*server.ingress_bytes_s, owner, "ingress_bytes_s", "byte/s");
  }
  if (server.egress_bytes_s) {
    require_above(*server.egress_bytes_s, owner, "egress_bytes_s", "byte/s");
  }
}

void check_gateway(const GatewaySpec& gateway, NetworkModel model) {
  const std::string owner = "gateway '" + gateway.name + "'";
  require_above(gateway.up_bytes_s, owner, "up_bytes_s", "byte/s");
  require_above(gateway.down_bytes_s, owner, "down_bytes_s", "byte/s");
  require_not_below(gateway.latency_s, owner, "latency_s", "seconds");
  if (gateway.speed_flops) require_above(*gateway.speed_flops, owner, "speed_flops", "flop/s");
  if (gateway.wifi && model != NetworkModel::kFluid) {
    throw InputError(owner + ": WiFi cells need the fluid network model");
  }
}

void check_names(const PlatformSpec& spec) {
  std::vector<std::string_view> names;
  names.reserve(spec.devices.size() + spec.gateways.size() + 1);
  for (std::size_t i = 0; i < spec.devices.size(); ++i) {
    if (spec.devices[i].name.empty()) {
      throw InputError("device " + std::to_string(i) + " has no name");
    }
    names.push_back(spec.devices[i].name);
  }
  for (const GatewaySpec& gateway : spec.gateways) {
    if (gateway.name.empty()) throw InputError("a gateway has no name");
    names.push_back(gateway.name);
  }
  if (spec.server.name.empty()) throw InputError("the server has no name");
  names.push_back(spec.server.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    throw InputError("two devices (or a device and the server) are named '" + std::string(*twice) +
                     "'; names must differ");
  }
}

}  // namespace

void check(const PlatformSpec& spec) {
  check_names(spec);
  for (const DeviceSpec& device : spec.devices) check_device(device, spec);
  check_server(spec.server);
  for (const GatewaySpec& gateway : spec.gateways) check_gateway(gateway, spec.model);
  if (spec.file && spec.aggregators == Aggregators::kGateways) {
    throw InputError(spec.file->path +
                     ": gateways merge updates, and a SimGrid platform file names none; let the "
                     "server or devices merge them, or describe the gateways in the devices' "
                     "`network` in place of the file");
  }
}

}  // namespace fedclock::platform
