#include "sim/experiment/world.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "models/common/error.h"
#include "models/common/random.h"
#include "sim/experiment/convert.h"
#include "sim/experiment/tables.h"
#include "sim/federation/workload.h"
#include "sim/scenario/check.h"
#include "sim/scenario/fleet.h"

namespace fedclock::experiment {

namespace {

constexpr double kLeastFactor = 1e-3, kMostFactor = 1e3;  // of drawn speeds
constexpr double kDay_s = 86400, kHour_s = 3600;
constexpr double kNever = std::numeric_limits<double>::infinity();

std::shared_ptr<const std::vector<platform::Interval>> one_interval(double start_s, double end_s) {
  return std::make_shared<const std::vector<platform::Interval>>(
      std::vector<platform::Interval>{{start_s, end_s}});
}

platform::Aggregators aggregators_of(const v1::Schedule& schedule) {
  switch (schedule.hierarchical().aggregator()) {
    case v1::Hierarchical::GATEWAY: return platform::Aggregators::kGateways;
    case v1::Hierarchical::DEVICE: return platform::Aggregators::kDevices;
    default: return platform::Aggregators::kServer;
  }
}

class WorldMaker {
 public:
  WorldMaker(const v1::Scenario& scenario, const DataPath& data_path, scenario::Problems& problems)
      : scenario_(scenario),
        platform_(scenario.platform()),
        data_path_(data_path),
        problems_(problems) {}

  World make() {
    world_.platform.model = platform_.network_model() == v1::TCP ? platform::NetworkModel::kTcp
                                                                 : platform::NetworkModel::kFluid;
    world_.platform.energy = platform_.energy();
    world_.platform.aggregators = aggregators_of(scenario_.federation().schedule());
    add_gateways();
    for (int i = 0; i < platform_.devices_size(); ++i) {
      group_path_ = path_ = scenario::item_path("platform.devices", i);
      const auto make_group = [&] { add_group(platform_.devices(i)); };
      if (!told(make_group)) return std::move(world_);
    }
    add_server();
    for (int i = 0; i < platform_.outages_size(); ++i) {
      path_ = scenario::item_path("platform.outages", i);
      told([&] { add_outage(platform_.outages(i)); });
    }
    path_ = "platform.simgrid.file";
    if (platform_.has_simgrid() && !told([&] { add_file(); })) return std::move(world_);
    world_.has_files = tables_.any();
    if (world_.has_files) world_.files = tables_.digest();
    return std::move(world_);
  }

 private:
  // False, with a problem at the present path, where it throws InputError.
  template <typename Step>
  bool told(Step step) {
    try {
      step();
      return true;
    } catch (const InputError& error) {
      problems_.add(path_, "", error.what());
      return false;
    }
  }

  template <typename Spec>
  std::filesystem::path table_path(const Spec& spec) const {
    return data_path_(spec.folder(), spec.file(), "its table");
  }

  platform::Distribution distribution(const v1::Distribution& from, double unit) {
    switch (from.kind_case()) {
      case v1::Distribution::kUniform:
        return platform::UniformDraw{from.uniform().low() * unit, from.uniform().high() * unit};
      case v1::Distribution::kLogUniform:
        return platform::LogUniformDraw{from.log_uniform().low() * unit,
                                        from.log_uniform().high() * unit};
      case v1::Distribution::kLogNormal:
        return platform::LogNormalDraw{from.log_normal().median() * unit,
                                       from.log_normal().sigma()};
      default: break;
    }
    std::vector<double> values = *tables_.column(table_path(from.file()), from.file());
    for (double& value : values) value *= unit;
    return platform::TableDraw{std::make_shared<const std::vector<double>>(std::move(values))};
  }

  void add_gateways() {
    gateways_ = scenario::gateways_of(platform_);
    for (const scenario::Gateways::One& one : gateways_.all) {
      platform::GatewaySpec& gateway = world_.platform.gateways.emplace_back();
      gateway.name = one.name;
      gateway.up_bytes_s = one.message->up_mbit_s() * kBytesPerMbit;
      gateway.down_bytes_s = one.message->down_mbit_s() * kBytesPerMbit;
      gateway.latency_s = one.message->latency_s();
      gateway.wifi = one.message->has_wifi();
      std::unique_ptr<cost::Machine>& made = world_.gateways.emplace_back();
      if (!one.message->has_device()) continue;
      made = std::make_unique<cost::Machine>(
          machine(one.message->device(), "", scenario_.timing().precision()));
      gateway.speed_flops = federation::effective_flops(*made);
    }
  }

  // The group's machines, in each mode that they run in.
  std::vector<cost::Machine> machines_of(const v1::DeviceGroup& group) const {
    std::vector<cost::Machine> machines;
    for (const int mode : scenario::modes_used(group)) {
      machines.push_back(machine(group.device(), group.device().modes(mode).name(),
                                 scenario_.timing().precision()));
    }
    return machines;
  }

  // What all devices of a group draw from or share.
  struct Shared {
    Machines machines;
    std::optional<platform::Distribution> speed_factor, down_bytes_s;
    Tables::Traces rates;
    std::shared_ptr<const Tables::Availability> availability;
    std::shared_ptr<const platform::ModeChanges> mode_changes;
    std::vector<platform::Watts> watts;
  };

  Shared shared_of(const v1::DeviceGroup& group) {
    Shared shared;
    shared.machines = std::make_shared<const std::vector<cost::Machine>>(machines_of(group));
    shared.mode_changes = changes_of(group);
    if (platform_.energy()) shared.watts = watts_of(group);
    path_ = group_path_ + ".speed_factor";
    if (group.has_speed_factor()) shared.speed_factor = distribution(group.speed_factor(), 1);
    const v1::AccessLink& link = group.network();
    path_ = group_path_ + ".network";
    if (link.has_drawn()) {
      shared.down_bytes_s = distribution(link.drawn().down_mbit_s(), kBytesPerMbit);
    }
    if (link.has_trace()) shared.rates = tables_.rates(table_path(link.trace()), link.trace());
    path_ = group_path_ + ".availability";
    const v1::AvailabilityTrace& trace = group.availability().trace();
    if (group.availability().has_trace()) {
      shared.availability = tables_.availability(table_path(trace));
    }
    return shared;
  }

  void add_group(const v1::DeviceGroup& group) {
    const Shared shared = shared_of(group);
    for (int i = 0; i < group.count(); ++i) {
      const uint64_t client = world_.platform.devices.size();
      Machines machines = shared.machines;
      if (shared.speed_factor) {
        path_ = group_path_ + ".speed_factor";
        Random random(scenario_.seed(), "device speed", 0, client);
        machines = scaled(*machines, drawn_factor(*shared.speed_factor, random));
      }
      platform::DeviceSpec& device = world_.platform.devices.emplace_back();
      device.name = fmt::format("client-{}", client);
      device.speed_flops = federation::effective_flops(machines->front());
      if (shared.mode_changes) {
        for (const cost::Machine& one : *machines) {
          device.mode_speeds_flops.push_back(federation::effective_flops(one));
        }
        device.mode_changes = shared.mode_changes;
      }
      world_.machines.push_back(std::move(machines));
      device.watts = shared.watts;
      add_link(group.network(), shared, client, device);
      if (group.has_availability()) {
        path_ = group_path_ + ".availability";
        device.presence = presence(group.availability(), shared, static_cast<uint64_t>(i), client);
      }
    }
  }

  static double drawn_factor(const platform::Distribution& distribution, Random& random) {
    const double factor = platform::draw(distribution, random);
    if (factor >= kLeastFactor && factor <= kMostFactor) return factor;
    throw InputError(fmt::format(
        "{} was drawn; a device is from {} to {} times as fast as its profile: change the "
        "distribution, or write over_median: true where a file holds scores",
        factor, kLeastFactor, kMostFactor));
  }

  static Machines scaled(const std::vector<cost::Machine>& machines, double factor) {
    std::vector<cost::Machine> result = machines;
    for (cost::Machine& one : result) {
      one.peak_flops *= factor;
      one.memory_bandwidth_bytes_s *= factor;
    }
    return std::make_shared<const std::vector<cost::Machine>>(std::move(result));
  }

  std::shared_ptr<const platform::ModeChanges> changes_of(const v1::DeviceGroup& group) const {
    if (!group.has_mode_change()) return nullptr;
    auto changes = std::make_shared<platform::ModeChanges>();
    changes->every_s = group.mode_change().every_s();
    changes->every_rounds = group.mode_change().every_rounds();
    changes->seed = scenario_.seed();
    changes->choices.resize(scenario::modes_used(group).size());
    for (size_t i = 0; i < changes->choices.size(); ++i) changes->choices[i] = i;
    return changes;
  }

  void add_link(const v1::AccessLink& link, const Shared& shared, uint64_t client,
                platform::DeviceSpec& device) {
    if (platform_.has_simgrid()) return;
    device.latency_s = link.latency_s();
    device.radio_w = link.radio_w();
    device.up_bytes_s = link.up_mbit_s() * kBytesPerMbit;
    device.down_bytes_s = link.down_mbit_s() * kBytesPerMbit;
    if (link.has_gateway()) {
      device.gateway = static_cast<size_t>(gateways_.of_client.at(client));
    }
    if (link.gateway().has_wifi()) {
      const auto& rates_mbit_s = link.gateway().wifi().station_mbit_s();
      Random random(scenario_.seed(), "wifi rate", 0, client);
      const auto chosen = random.below(static_cast<uint64_t>(rates_mbit_s.size()));
      device.wifi_bytes_s = rates_mbit_s.Get(static_cast<int>(chosen)) * kBytesPerMbit;
    } else if (shared.down_bytes_s) {
      const v1::DrawnBandwidth& drawn = link.drawn();
      device.bandwidth = platform::redrawn(*shared.down_bytes_s, drawn.up_per_down(),
                                           drawn.has_every_s() ? drawn.every_s() : kNever,
                                           scenario_.seed(), client);
    } else if (shared.rates) {
      Random random(scenario_.seed(), "bandwidth trace", 0, client);
      const auto& trace = shared.rates->at(random.below(shared.rates->size()));
      device.bandwidth =
          platform::traced(trace, link.trace().up_per_down(), random.uniform() * trace->period_s);
    }
  }

  std::shared_ptr<platform::Presence> presence(const v1::Availability& from, const Shared& shared,
                                               uint64_t place, uint64_t client) {
    if (from.has_churn()) {
      return platform::churn(from.churn().mean_on_s(), from.churn().mean_off_s(), scenario_.seed(),
                             client);
    }
    if (from.has_window()) return window(from.window(), client);
    const v1::AvailabilityTrace& spec = from.trace();
    const Tables::Availability* table = shared.availability.get();
    const double period_s = spec.has_period_s() ? spec.period_s() : table->last_end_s;
    if (period_s < table->last_end_s) {
      throw InputError(
          fmt::format("availability.trace.period_s is {}, but {} goes on until {} s: "
                      "write at least that",
                      period_s, spec.file(), table->last_end_s));
    }
    if (spec.shuffle()) place = Random(scenario_.seed(), "availability", 0, client).bits64();
    return platform::on_during(table->clients.at(place % table->clients.size()), period_s,
                               std::fmod(spec.start_s(), period_s));
  }

  std::shared_ptr<platform::Presence> window(const v1::ChargingWindow& from, uint64_t client) {
    Random random(scenario_.seed(), "charging window", 0, client);
    const double shift_h = from.spread_h() * (2 * random.uniform() - 1);
    if (from.hours() >= 24) return nullptr;
    // Seconds from the start of a window to that of the run, so that the window is [0, hours).
    const double since_h = from.run_starts_h() - from.start_h() - shift_h;
    const double offset_s = std::fmod(since_h * kHour_s + 2 * kDay_s, kDay_s);
    return platform::on_during(one_interval(0, from.hours() * kHour_s), kDay_s, offset_s);
  }

  static std::vector<platform::Watts> watts_of(const v1::DeviceGroup& group) {
    std::vector<platform::Watts> watts;
    for (const int mode : scenario::modes_used(group)) {
      watts.push_back({group.device().idle_w(), group.device().modes(mode).busy_w()});
    }
    return watts;
  }

  void add_server() {
    platform::ServerSpec& server = world_.platform.server;
    server.name = "server";
    if (platform_.has_server()) {
      world_.server = std::make_unique<cost::Machine>(
          machine(platform_.server().device(), "", scenario_.timing().precision()));
    }
    // Without a server nothing is ever computed on it: any speed will do.
    server.speed_flops = world_.server ? federation::effective_flops(*world_.server) : 1.0;
    if (platform_.server().has_ingress_mbit_s()) {
      server.ingress_bytes_s = platform_.server().ingress_mbit_s() * kBytesPerMbit;
    }
    if (platform_.server().has_egress_mbit_s()) {
      server.egress_bytes_s = platform_.server().egress_mbit_s() * kBytesPerMbit;
    }
  }

  void add_outage(const v1::Outage& outage) {
    const double start_s = outage.start_s();
    std::shared_ptr<platform::Presence> off;
    if (outage.has_every_s()) {
      const double every_s = outage.every_s();
      off = platform::on_until(start_s,
                               platform::off_during(one_interval(0, outage.duration_s()), every_s,
                                                    every_s - std::fmod(start_s, every_s)));
    } else {
      const double end_s = outage.has_duration_s() ? start_s + outage.duration_s() : kNever;
      off = platform::off_during(one_interval(start_s, end_s), kNever, 0);
    }
    const auto combine = [&](std::shared_ptr<platform::Presence>& presence) {
      presence = platform::both(presence, off);
    };
    switch (outage.what_case()) {
      case v1::Outage::kClient:
        combine(world_.platform.devices.at(static_cast<size_t>(outage.client())).presence);
        break;
      case v1::Outage::kLinkOfClient:
        combine(
            world_.platform.devices.at(static_cast<size_t>(outage.link_of_client())).link_presence);
        break;
      case v1::Outage::kGateway:
        for (platform::GatewaySpec& gateway : world_.platform.gateways) {
          if (gateway.name == outage.gateway()) combine(gateway.presence);
        }
        break;
      default: combine(world_.platform.server.presence);
    }
  }

  void add_file() {
    const v1::SimGridPlatform& from = platform_.simgrid();
    tables_.read(from.file());
    world_.platform.file = platform::SimGridFile{
        from.file(), from.server_host(), {from.device_hosts().begin(), from.device_hosts().end()}};
  }

  const v1::Scenario& scenario_;
  const v1::Platform& platform_;
  const DataPath& data_path_;
  scenario::Problems& problems_;
  std::string path_;        // of what is being made
  std::string group_path_;  // of its group
  Tables tables_;
  scenario::Gateways gateways_;
  World world_;
};

}  // namespace

World make_world(const v1::Scenario& scenario, const DataPath& data_path,
                 scenario::Problems& problems) {
  return WorldMaker(scenario, data_path, problems).make();
}

}  // namespace fedclock::experiment
