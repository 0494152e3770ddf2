#include "sim/platform/topology.h"

#include <fmt/format.h>
#include <simgrid/plugins/energy.h>
#include <simgrid/Exception.hpp>
#include <simgrid/s4u.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "models/common/error.h"

namespace fedclock::platform {

namespace s4u = simgrid::s4u;

namespace {

using Links = std::vector<s4u::LinkInRoute>;

// Byte/s of a link that is there for SimGrid's sake, far above all others.
constexpr double kNoBottleneck_bytes_s = 1e15;

// SimGrid's "idle:epsilon:max" of each power state: a busy host draws busy_w whatever its load.
std::string wattage(const DeviceSpec& device) {
  std::string text;
  for (const Watts& watts : device.watts) {
    text += fmt::format("{}{}:{}:{}", text.empty() ? "" : ", ", watts.idle_w, watts.busy_w,
                        watts.busy_w);
  }
  return text;
}

class Builder {
 public:
  explicit Builder(const PlatformSpec& spec)
      : spec_(spec), fluid_(spec.model == NetworkModel::kFluid) {}

  Built build() {
    built_.devices.resize(spec_.devices.size());
    built_.gateways.resize(spec_.gateways.size());
    root_ = s4u::create_star_zone("star");
    if (spec_.gateways.empty()) {
      for (std::size_t i = 0; i < spec_.devices.size(); ++i) add_device(root_, i);
      add_server(root_);
    } else {
      add_zones();
    }
    root_->seal();
    return std::move(built_);
  }

 private:
  s4u::Link* link(s4u::NetZone* zone, const std::string& name, double bytes_s, double latency_s,
                  double radio_w = 0) {
    // In the fluid model fedclock itself waits for the latency (see NetworkModel).
    s4u::Link* made = zone->create_link(name, bytes_s)->set_latency(fluid_ ? 0 : latency_s);
    if (spec_.energy) made->set_property("wattage_range", fmt::format("0:{}", radio_w));
    return made->seal();
  }

  static Links route(s4u::Link* link) {
    return link == nullptr ? Links{} : Links{s4u::LinkInRoute(link)};
  }

  static void add_routes(s4u::NetZone* zone, simgrid::kernel::routing::NetPoint* point,
                         s4u::Link* out, s4u::Link* in) {
    zone->add_route(point, nullptr, nullptr, nullptr, route(out), false);
    zone->add_route(nullptr, point, nullptr, nullptr, route(in), false);
  }

  s4u::Host* make_host(s4u::NetZone* zone, const DeviceSpec& device) const {
    s4u::Host* host = device.mode_speeds_flops.empty()
                          ? zone->create_host(device.name, device.speed_flops)
                          : zone->create_host(device.name, device.mode_speeds_flops);
    if (spec_.energy) host->set_property("wattage_per_state", wattage(device));
    return host->seal();
  }

  void wait_for_latency(std::size_t index) {
    if (!fluid_) return;
    const DeviceSpec& device = spec_.devices[index];
    const double way_s =
        device.latency_s + (device.gateway ? spec_.gateways[*device.gateway].latency_s : 0);
    built_.devices[index].up_latency_s = built_.devices[index].down_latency_s = way_s;
    built_.devices[index].own_latency_s = device.latency_s;
  }

  void add_device(s4u::NetZone* zone, std::size_t index) {
    const DeviceSpec& device = spec_.devices[index];
    Built::Host& host = built_.devices[index];
    const Rates rates = device.bandwidth ? device.bandwidth->at(0)
                                         : Rates{device.up_bytes_s, device.down_bytes_s, 0};
    host.host = make_host(zone, device);
    host.up = link(zone, device.name + ":up", rates.up_bytes_s, device.latency_s, device.radio_w);
    host.down =
        link(zone, device.name + ":down", rates.down_bytes_s, device.latency_s, device.radio_w);
    wait_for_latency(index);
    add_routes(zone, host.host->get_netpoint(), host.up, host.down);
  }

  void add_server(s4u::NetZone* zone) {
    const ServerSpec& server = spec_.server;
    s4u::Host* host = zone->create_host(server.name, server.speed_flops)->seal();
    built_.server.host = host;
    const auto shared = [&](const char* name, const std::optional<double>& bytes_s) {
      return bytes_s ? link(zone, server.name + name, *bytes_s, 0) : nullptr;
    };
    s4u::Link* egress = shared(":egress", server.egress_bytes_s);
    add_routes(zone, host->get_netpoint(), egress, shared(":ingress", server.ingress_bytes_s));
  }

  // A zone whose router is its way out, over these links.
  s4u::NetZone* star_below(const std::string& name, s4u::Link* out, s4u::Link* in) {
    s4u::NetZone* zone = s4u::create_star_zone(name);
    zone->set_parent(root_);
    auto* router = zone->create_router(name + ":router");
    add_routes(zone, router, nullptr, nullptr);
    join(root_, zone, router, out, in);
    return zone;
  }

  static void join(s4u::NetZone* parent, s4u::NetZone* zone,
                   simgrid::kernel::routing::NetPoint* router, s4u::Link* out, s4u::Link* in) {
    parent->add_route(zone->get_netpoint(), nullptr, router, nullptr, route(out), false);
    parent->add_route(nullptr, zone->get_netpoint(), nullptr, router, route(in), false);
  }

  void add_zones() {
    std::vector<std::vector<std::size_t>> behind(spec_.gateways.size());
    std::vector<std::size_t> direct;
    for (std::size_t i = 0; i < spec_.devices.size(); ++i) {
      const auto& gateway = spec_.devices[i].gateway;
      (gateway ? behind[*gateway] : direct).push_back(i);
    }
    for (std::size_t g = 0; g < spec_.gateways.size(); ++g) add_gateway(g, behind[g]);
    if (!direct.empty()) {
      s4u::NetZone* zone = star_below("star:direct", nullptr, nullptr);
      for (const std::size_t device : direct) add_device(zone, device);
      zone->seal();
    }
    s4u::NetZone* zone = star_below("star:server", nullptr, nullptr);
    add_server(zone);
    zone->seal();
  }

  void add_gateway(std::size_t number, const std::vector<std::size_t>& devices) {
    const GatewaySpec& gateway = spec_.gateways[number];
    Built::Host& built = built_.gateways[number];
    if (fluid_) built.up_latency_s = built.down_latency_s = gateway.latency_s;
    s4u::Link* up = link(root_, gateway.name + ":up", gateway.up_bytes_s, gateway.latency_s);
    s4u::Link* down = link(root_, gateway.name + ":down", gateway.down_bytes_s, gateway.latency_s);
    const bool machine = spec_.aggregators == Aggregators::kGateways;
    if (gateway.wifi && machine) return add_cell_and_machine(number, devices, up, down);
    if (gateway.wifi) {
      const auto [zone, router] = add_cell(gateway.name, gateway, root_, devices);
      join(root_, zone, router, up, down);
      return;
    }
    s4u::NetZone* zone = star_below(gateway.name, up, down);
    if (machine) add_machine(number, zone, nullptr);
    for (const std::size_t device : devices) add_device(zone, device);
    zone->seal();
  }

  // The gateway's host, over this link of its own.
  void add_machine(std::size_t number, s4u::NetZone* zone, s4u::Link* out) {
    const GatewaySpec& gateway = spec_.gateways[number];
    // One that computes nothing has no speed: any will do.
    const double speed_flops = gateway.speed_flops.value_or(1);
    s4u::Host* host = zone->create_host(gateway.name + ":host", speed_flops)->seal();
    built_.gateways[number].host = host;
    add_routes(zone, host->get_netpoint(), out, nullptr);
  }

  // A star of two zones whose way out is the access point, between the two.
  void add_cell_and_machine(std::size_t number, const std::vector<std::size_t>& devices,
                            s4u::Link* up, s4u::Link* down) {
    const GatewaySpec& gateway = spec_.gateways[number];
    s4u::NetZone* both = s4u::create_star_zone(gateway.name);
    both->set_parent(root_);
    const auto [cell, access_point] = add_cell(gateway.name + ":cell", gateway, both, devices);
    join(both, cell, access_point, nullptr, nullptr);
    s4u::NetZone* beside = s4u::create_star_zone(gateway.name + ":machine");
    beside->set_parent(both);
    auto* router = beside->create_router(gateway.name + ":machine:router");
    add_routes(beside, router, nullptr, nullptr);
    // SimGrid takes the first link of a route for the sender's air where it is WiFi. So a link that
    // is no bottleneck comes before the air on the gateway's way to its devices.
    add_machine(number, beside, link(beside, gateway.name + ":wire", kNoBottleneck_bytes_s, 0));
    join(both, beside, router, nullptr, nullptr);
    beside->seal();
    join(root_, both, access_point, up, down);
    both->seal();
  }

  struct Cell {
    s4u::NetZone* zone;
    simgrid::kernel::routing::NetPoint* access_point;
  };

  // SimGrid's WiFi model: one link, whose capacity is time on the air; a level for each rate.
  Cell add_cell(const std::string& name, const GatewaySpec& gateway, s4u::NetZone* parent,
                const std::vector<std::size_t>& devices) {
    s4u::NetZone* zone = s4u::create_wifi_zone(name);
    zone->set_parent(parent);
    auto* router = zone->create_router(gateway.name + ":router");
    zone->set_property("access_point", gateway.name + ":router");
    std::map<double, int> levels;
    for (const std::size_t device : devices) levels[spec_.devices[device].wifi_bytes_s] = 0;
    std::vector<double> rates;
    for (auto& [rate_bytes_s, level] : levels) {
      level = static_cast<int>(rates.size());
      rates.push_back(rate_bytes_s);
    }
    if (!rates.empty()) {
      s4u::Link* air = zone->create_link(gateway.name + ":air", rates);
      air->set_latency(0)->seal();
      for (const std::size_t device : devices) {
        const DeviceSpec& station = spec_.devices[device];
        built_.devices[device].host = make_host(zone, station);
        wait_for_latency(device);
        air->set_host_wifi_rate(built_.devices[device].host, levels[station.wifi_bytes_s]);
      }
    }
    zone->seal();
    return {zone, router};
  }

  const PlatformSpec& spec_;
  bool fluid_;
  s4u::NetZone* root_ = nullptr;
  Built built_;
};

s4u::Host* host_of_file(const SimGridFile& file, const std::string& name) {
  s4u::Host* host = s4u::Host::by_name_or_null(name);
  if (host != nullptr) return host;
  throw InputError(file.path + " has no host named '" + name + "'");
}

std::vector<std::string> device_hosts(const SimGridFile& file) {
  if (!file.device_hosts.empty()) return file.device_hosts;
  std::vector<std::string> names;
  for (const s4u::Host* host : s4u::Engine::get_instance()->get_all_hosts()) {
    if (host->get_name() != file.server_host) names.push_back(host->get_name());
  }
  std::sort(names.begin(), names.end());
  return names;
}

struct Way {
  std::vector<s4u::Link*> links;
  double latency_s = 0;
};

// InputError where the file has no way.
Way way(const s4u::Host* from, const s4u::Host* to, const SimGridFile& file) {
  Way found;
  from->route_to(to, found.links, &found.latency_s);
  if (!found.links.empty()) return found;
  throw InputError(file.path + ": has no route from '" + from->get_name() + "' to '" +
                   to->get_name() + "'");
}

// The latencies between devices are asked for when two of them exchange something: there are as
// many as pairs. By then the links' own have gone.
void keep_latencies(Built& built, const PlatformSpec& spec) {
  std::map<const s4u::Link*, double> latencies_s;
  if (spec.model == NetworkModel::kFluid) {
    for (const s4u::Link* link : s4u::Engine::get_instance()->get_all_links()) {
      latencies_s[link] = link->get_latency();
    }
  }
  built.device_latency_s = [latencies_s, file = *spec.file, devices = built.devices](
                               std::size_t from, std::size_t to) {
    double sum_s = 0;
    for (const s4u::Link* link : way(devices[from].host, devices[to].host, file).links) {
      const auto kept = latencies_s.find(link);
      if (kept != latencies_s.end()) sum_s += kept->second;
    }
    return sum_s;
  };
}

// SimGrid would break off what is under way, and tell nobody when it is back.
void refuse_states(const SimGridFile& file) {
  std::ifstream in(file.path);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  for (const char* word : {"state_file", "HOST_AVAIL", "LINK_AVAIL"}) {
    if (text.find(word) == std::string::npos) continue;
    throw InputError(file.path + ": " + word +
                     ": when hosts and links are on is said by the scenario's `availability` and "
                     "`outages`; remove it from the platform file");
  }
}

Built load(const PlatformSpec& spec) {
  const SimGridFile& file = *spec.file;
  if (!std::filesystem::is_regular_file(file.path)) {
    throw InputError("there is no SimGrid platform file " + file.path);
  }
  refuse_states(file);
  s4u::Engine& engine = *s4u::Engine::get_instance();
  try {
    engine.load_platform(file.path);
  } catch (const std::exception& error) {
    throw InputError(file.path + ": SimGrid cannot load this platform: " + error.what());
  }
  Built built;
  built.server.host = host_of_file(file, file.server_host);
  const std::vector<std::string> names = device_hosts(file);
  if (names.size() < spec.devices.size()) {
    throw InputError(fmt::format("{} has {} hosts for {} devices; each needs one of its own",
                                 file.path, names.size(), spec.devices.size()));
  }
  for (std::size_t i = 0; i < spec.devices.size(); ++i) {
    Built::Host device;
    device.host = host_of_file(file, names[i]);
    const double up_s = way(device.host, built.server.host, file).latency_s;
    const double down_s = way(built.server.host, device.host, file).latency_s;
    if (spec.model == NetworkModel::kFluid) {
      device.up_latency_s = up_s;
      device.down_latency_s = down_s;
    }
    built.devices.push_back(device);
  }
  if (spec.aggregators == Aggregators::kDevices) keep_latencies(built, spec);
  if (spec.model == NetworkModel::kFluid) {
    for (s4u::Link* link : engine.get_all_links()) link->set_latency(0);
  }
  return built;
}

}  // namespace

Built build(kernel::Simulation& simulation, const PlatformSpec& spec) {
  check(spec);
  simulation.set_network_model(spec.model);
  if (spec.energy) {  // before any host or link is made
    sg_host_energy_plugin_init();
    sg_link_energy_plugin_init();
  }
  return spec.file ? load(spec) : Builder(spec).build();
}

}  // namespace fedclock::platform
