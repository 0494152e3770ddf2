// Checks of the world around the devices: their networks and gateways, what is drawn, when they are
// there, what breaks, what they draw from the battery.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "sim/scenario/check.h"
#include "sim/scenario/fleet.h"
#include "sim/scenario/suggest.h"

namespace fedclock::scenario {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();
constexpr int64_t kMostDevices = 100'000'000;

void check_latency(const Fields& link) {
  if (!link.require("latency_s", "write the one-way latency in seconds, 0 for none")) return;
  link.within("latency_s", 0, 10,
              slip_hint(link.number("latency_s"), 0, 10, {{1e3, "ms"}, {1e6, "us"}}, "s"));
}

void check_rates(const Fields& link) {
  for (const char* name : {"up_mbit_s", "down_mbit_s"}) {
    if (!link.require(name, "write the bandwidth in Mbit/s (10^6 bit/s)")) continue;
    check_rate(link, name, "over a link without bandwidth nothing ever arrives");
  }
}

// Of a table with columns: JSON Lines have none.
template <typename Message>
void check_table(const Message& values, const Fields& table) {
  check_file_name(table, "file", values.file(), {".csv", ".tsv"});
}

void check_distribution(const v1::Distribution& values, const Fields& holder,
                        std::string_view name) {
  const Fields fields = holder.child(name);
  switch (values.kind_case()) {
    case v1::Distribution::kUniform:
    case v1::Distribution::kLogUniform: {
      const Fields range = fields.child(values.has_uniform() ? "uniform" : "log_uniform");
      const bool low = range.require("low", "write the least value");
      const bool high = range.require("high", "write the greatest value");
      if (low) range.above("low", 0, kNoLimit);
      if (low && high && range.number("high") < range.number("low")) {
        range.problem("high", fmt::format("is below `low`, {}", range.shown("low")));
      }
      break;
    }
    case v1::Distribution::kLogNormal: {
      const Fields normal = fields.child("log_normal");
      if (normal.require("median", "write the median")) normal.above("median", 0, kNoLimit);
      if (normal.require("sigma", "write the standard deviation of the logarithm")) {
        normal.within("sigma", 0, 5);
      }
      break;
    }
    case v1::Distribution::kFile: {
      const Fields file = fields.child("file");
      check_table(values.file(), file);
      file.require("column", "name the column of the values");
      file.above("scale", 0, 1e9);
      if (values.file().has_where_value() && !values.file().has_where_column()) {
        file.problem("where_value", "needs `where_column`, the column that it stands in");
      }
      break;
    }
    case v1::Distribution::KIND_NOT_SET:
      holder.problem(name, "is of no kind; write uniform, log_uniform, log_normal or file in it");
  }
}

void check_drawn(const v1::AccessLink& values, const Fields& link) {
  const Fields drawn = link.child("drawn");
  if (drawn.require("down_mbit_s", "write a distribution, such as uniform { low: 1 high: 30 }")) {
    check_distribution(values.drawn().down_mbit_s(), drawn, "down_mbit_s");
  }
  drawn.above("up_per_down", 0, 1000);
  if (values.drawn().has_every_s()) drawn.at_least("every_s", 0.001);
}

void check_trace(const v1::BandwidthTrace& values, const Fields& link) {
  const Fields trace = link.child("trace");
  check_table(values, trace);
  trace.above("unit_mbit_s", 0, 1e6);
  trace.above("up_per_down", 0, 1000);
  trace.within("least_mbit_s", kSlowest_mbit_s, 1000);
}

void check_gateway(const v1::Scenario& scenario, const v1::Gateway& values, const Fields& gateway) {
  if (gateway.require("name", "give the gateway a name")) {
    const std::string& name = values.name();
    if (name.empty() || name == "server" || name.starts_with("client-") ||
        name.starts_with("star") || name.find_first_of(",:\"\r\n") != std::string::npos) {
      gateway.problem("name",
                      "is empty, taken, or holds a comma, a colon, a quote or a line end; choose "
                      "another, such as \"edge\"");
    }
  }
  gateway.at_least("devices_each", 1);
  check_rates(gateway);
  check_latency(gateway);
  if (values.has_device()) check_device(values.device(), gateway.child("device"));
  if (!values.has_wifi()) return;
  if (scenario.platform().network_model() != v1::FLUID) {
    gateway.problem("wifi",
                    "needs platform.network_model: FLUID, SimGrid's WiFi model knows no TCP");
  }
  const Fields wifi = gateway.child("wifi");
  wifi.require("station_mbit_s", "write the rates that stations reach, such as [50, 20]");
  for (const double rate_mbit_s : values.wifi().station_mbit_s()) {
    if (rate_mbit_s >= kSlowest_mbit_s && rate_mbit_s <= kFastest_mbit_s) continue;
    wifi.problem("station_mbit_s", fmt::format("holds {}; rates must be from {} to {} Mbit/s",
                                               rate_mbit_s, kSlowest_mbit_s, kFastest_mbit_s));
  }
}

void check_link(const v1::Scenario& scenario, const v1::AccessLink& values, const Fields& link) {
  const bool plain = values.has_up_mbit_s() || values.has_down_mbit_s();
  const bool wifi = values.gateway().has_wifi();
  if (plain + values.has_drawn() + values.has_trace() + wifi > 1) {
    link.problem(values.has_trace()   ? "trace"
                 : values.has_drawn() ? "drawn"
                                      : (values.has_up_mbit_s() ? "up_mbit_s" : "down_mbit_s"),
                 "only one of `up_mbit_s` with `down_mbit_s`, `drawn`, `trace` and a gateway with "
                 "`wifi` can say what the link carries; remove the others");
  } else if (values.has_drawn()) {
    check_drawn(values, link);
  } else if (values.has_trace()) {
    check_trace(values.trace(), link);
  } else if (!wifi) {
    check_rates(link);
  }
  check_latency(link);
  link.within("radio_w", 0, 1000);
  if (values.has_gateway()) {
    check_gateway(scenario, values.gateway(), link.child("gateway"));
  }
  if (scenario.platform().energy()) {
    link.require("radio_w", "platform.energy counts it: write the radio's power in W, 0 for none");
  }
}

void check_window(const Fields& window) {
  if (window.require("start_h", "write the hour of the day at which the windows start")) {
    window.within("start_h", 0, 24);
  }
  if (window.require("hours", "write how many hours they last")) window.above("hours", 0, 24);
  window.within("spread_h", 0, 12);
  window.within("run_starts_h", 0, 24);
}

void check_availability(const v1::Availability& values, const Fields& group) {
  const Fields fields = group.child("availability");
  if (values.has_trace()) {
    const Fields trace = fields.child("trace");
    check_table(values.trace(), trace);
    trace.at_least("start_s", 0);
    if (values.trace().has_period_s()) trace.above("period_s", 0, kNoLimit);
  } else if (values.has_window()) {
    check_window(fields.child("window"));
  } else if (values.has_churn()) {
    const Fields churn = fields.child("churn");
    for (const char* name : {"mean_on_s", "mean_off_s"}) {
      if (churn.require(name, "write the mean time in seconds")) churn.within(name, 0.001, 1e12);
    }
  } else {
    group.problem("availability", "is of no kind; write trace, window or churn in it");
  }
}

void check_mode_change(const v1::DeviceGroup& values, const Fields& group) {
  const Fields change = group.child("mode_change");
  if (values.has_mode()) {
    group.problem("mode", "stands beside `mode_change`, which chooses the mode; remove one");
  }
  if (!change.has("every_s") &&
      !change.require("every_rounds",
                      "write `every_rounds` or `every_s`: how often modes change")) {
    return;
  }
  if (change.has("every_s")) change.at_least("every_s", 0.001);
  if (change.has("every_rounds")) change.at_least("every_rounds", 1);
  std::vector<std::string> names;
  for (const v1::PowerMode& mode : values.device().modes()) names.push_back(mode.name());
  std::set<std::string> chosen;
  for (const std::string& name : values.mode_change().modes()) {
    if (!chosen.insert(name).second) {
      change.problem("modes", fmt::format("names {} twice", in_quotes(name)));
    } else if (std::find(names.begin(), names.end(), name) == names.end()) {
      change.problem("modes", fmt::format("names {}, which is no power mode of this device; {}",
                                          in_quotes(name), suggest_name(name, names)));
    }
  }
}

// Gateways of one name are one: they are described alike.
void check_gateways_agree(const v1::Platform& platform, const Fields& fields) {
  std::map<std::string, std::pair<int, std::string>> first;
  for (int i = 0; i < platform.devices_size(); ++i) {
    if (!platform.devices(i).network().has_gateway()) continue;
    const v1::Gateway& gateway = platform.devices(i).network().gateway();
    const auto [known, added] =
        first.emplace(gateway.name(), std::pair{i, gateway.SerializeAsString()});
    if (added || known->second.second == gateway.SerializeAsString()) continue;
    fields.item("devices", i)
        .child("network")
        .problem("gateway", fmt::format("has the name of the gateway in devices[{}] and is "
                                        "described otherwise; describe it alike, or rename it",
                                        known->second.first));
  }
}

// Of all gateways, with their numbers; numbered ones must not have another's name.
std::set<std::string> gateway_names(const v1::Scenario& scenario, const Fields& platform) {
  std::set<std::string> names;
  if (client_count(scenario) > kMostDevices) return names;  // told elsewhere
  for (const auto& one : gateways_of(scenario.platform()).all) {
    if (!names.insert(one.name).second) {
      platform.problem("devices", fmt::format("two gateways are named {}: one by its name, one by "
                                              "its number; rename one of them",
                                              in_quotes(one.name)));
      break;
    }
  }
  return names;
}

void check_outage(const v1::Scenario& scenario, const std::set<std::string>& names,
                  const v1::Outage& values, const Fields& outage) {
  switch (values.what_case()) {
    case v1::Outage::kServer:
      if (!values.server()) outage.problem("server", "write true, or remove the outage");
      break;
    case v1::Outage::kClient:
    case v1::Outage::kLinkOfClient: {
      const char* name = values.has_client() ? "client" : "link_of_client";
      outage.within(name, 0, static_cast<double>(client_count(scenario) - 1),
                    "clients are numbered from 0, in the order of the groups");
      break;
    }
    case v1::Outage::kGateway: {
      if (!names.contains(values.gateway())) {
        outage.problem("gateway", "is no gateway of this platform; " +
                                      suggest_name(values.gateway(), {names.begin(), names.end()}));
      }
      break;
    }
    case v1::Outage::WHAT_NOT_SET:
      outage.require("client",
                     "write what is out of order: server, client, link_of_client or "
                     "gateway");
  }
  if (outage.require("start_s", "write the second at which it begins")) {
    outage.within("start_s", 0, 1e12);
  }
  outage.within("duration_s", 0.001, 1e12);
  if (!values.has_every_s()) return;
  if (outage.require("duration_s", "`every_s` repeats it: write how many seconds it lasts") &&
      (values.every_s() < values.duration_s() || values.every_s() > 1e12)) {
    outage.problem("every_s", "must be from `duration_s`, or it would never be over, to 1e12");
  }
}

void check_simgrid(const v1::Scenario& scenario, const Fields& platform) {
  const v1::SimGridPlatform& values = scenario.platform().simgrid();
  const Fields simgrid = platform.child("simgrid");
  simgrid.require("file", "name the platform file (XML)");
  simgrid.require("server_host", "name the host that is the server");
  std::set<std::string> names{values.server_host()};
  for (const std::string& name : values.device_hosts()) {
    if (names.insert(name).second) continue;
    simgrid.problem("device_hosts",
                    fmt::format("names {} twice, or the server's host", in_quotes(name)));
  }
  if (values.device_hosts_size() > 0 && values.device_hosts_size() < client_count(scenario)) {
    simgrid.problem("device_hosts",
                    fmt::format("names {} hosts for {} devices", values.device_hosts_size(),
                                client_count(scenario)));
  }
  if (scenario.platform().energy()) {
    platform.problem("energy", "is not counted on a SimGrid platform file");
  }
  for (const char* name : {"ingress_mbit_s", "egress_mbit_s"}) {
    if (!scenario.platform().has_server()) continue;
    const Fields server = platform.child("server");
    if (server.has(name)) {
      server.problem(name, "is the platform file's to say, in platform.simgrid; remove it");
    }
  }
}

// A missing power would be counted as none.
void check_energy(const v1::DeviceGroup& values, const Fields& group) {
  const Fields device = group.child("device");
  device.require("idle_w", "platform.energy counts it: write the idle power in W");
  for (const int mode : modes_used(values)) {
    device.item("modes", mode)
        .require("busy_w", "platform.energy counts it: write the power in W when busy");
  }
}

}  // namespace

std::vector<int> modes_used(const v1::DeviceGroup& group) {
  std::vector<int> modes;
  const auto& wanted = group.mode_change().modes();
  for (int i = 0; i < group.device().modes_size(); ++i) {
    const std::string& name = group.device().modes(i).name();
    if (group.has_mode_change()) {
      const bool named = std::find(wanted.begin(), wanted.end(), name) != wanted.end();
      if (wanted.empty() || named) modes.push_back(i);
    } else if (!group.has_mode() || name == group.mode()) {
      return {i};
    }
  }
  return modes;
}

void check_world_of_group(const v1::Scenario& scenario, const v1::DeviceGroup& values,
                          const Fields& group) {
  const v1::Platform& platform = scenario.platform();
  if (platform.has_simgrid()) {
    if (group.has("network")) {
      group.problem("network", "is the platform file's to say, in platform.simgrid; remove one");
    }
  } else if (group.require("network",
                           "write network { up_mbit_s: 20 down_mbit_s: 50 latency_s: 0.01 }")) {
    check_link(scenario, values.network(), group.child("network"));
  }
  if (values.has_speed_factor()) {
    check_distribution(values.speed_factor(), group, "speed_factor");
  }
  if (values.has_availability()) check_availability(values.availability(), group);
  if (values.has_mode_change()) check_mode_change(values, group);
  if (platform.energy() && values.has_device()) check_energy(values, group);
}

void check_world(const v1::Scenario& scenario, const Fields& platform) {
  const v1::Platform& values = scenario.platform();
  check_gateways_agree(values, platform);
  const std::set<std::string> names = gateway_names(scenario, platform);
  for (int i = 0; i < values.outages_size(); ++i) {
    check_outage(scenario, names, values.outages(i), platform.item("outages", i));
  }
  if (values.has_simgrid()) check_simgrid(scenario, platform);
}

}  // namespace fedclock::scenario
