// Random worlds: whatever the topology, the sizes, the churn and the schedule, a run ends, time
// goes forward, bytes are conserved, and every second of every device is accounted for.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <map>

#include "models/common/random.h"
#include "sim/platform/presence.h"
#include "sim/scenario/methods.h"
#include "sim/scenario/validate.h"
#include "tests/sim/federation/timed.h"

namespace fedclock::federation {
namespace {

// Makes a scenario out of the tiny one.
class WorldMaker {
 public:
  explicit WorldMaker(uint64_t seed) : random_(seed, "random world") {}

  v1::Scenario make(v1::Scenario scenario) {
    scenario.set_seed(random_.below(1000) + 1);
    v1::Platform& platform = *scenario.mutable_platform();
    const v1::DeviceGroup board = platform.devices(0);
    platform.clear_devices();
    platform.set_network_model(v1::FLUID);
    platform.set_energy(chance(0.3));
    const auto groups = 1 + random_.below(3);
    for (uint64_t i = 0; i < groups; ++i) add_group(board, platform, i);
    if (chance(0.3)) platform.mutable_server()->set_ingress_mbit_s(between(0.5, 20));
    if (chance(0.3)) platform.mutable_server()->set_egress_mbit_s(between(0.5, 20));
    add_outages(platform);
    choose_schedule(scenario);
    v1::Local& local = *scenario.mutable_federation()->mutable_local();
    local.set_steps(static_cast<int32_t>(1 + random_.below(30)));
    scenario.mutable_stop()->Clear();
    scenario.mutable_stop()->set_rounds(static_cast<int32_t>(1 + random_.below(6)));
    if (chance(0.3)) scenario.mutable_stop()->set_simulated_s(between(0.1, 20));
    return scenario;
  }

 private:
  bool chance(double share) { return random_.uniform() < share; }
  double between(double low, double high) { return low * std::pow(high / low, random_.uniform()); }

  void add_group(const v1::DeviceGroup& board, v1::Platform& platform, uint64_t number) {
    v1::DeviceGroup& group = *platform.add_devices();
    group = board;
    group.set_count(static_cast<int32_t>(1 + random_.below(5)));
    v1::Device& device = *group.mutable_device();
    device.set_idle_w(1);
    v1::PowerMode& second = *device.add_modes();
    second = device.modes(0);
    second.set_name("10W");
    second.set_fp32_tflops(0.2);
    device.mutable_modes(0)->set_busy_w(15);
    second.set_busy_w(10);
    if (chance(0.4)) {
      if (chance(0.5)) {
        group.mutable_mode_change()->set_every_s(between(0.01, 1));
      } else {
        group.mutable_mode_change()->set_every_rounds(static_cast<int32_t>(1 + random_.below(3)));
      }
    }
    if (chance(0.3)) {
      group.mutable_speed_factor()->mutable_log_normal()->set_median(1);
      group.mutable_speed_factor()->mutable_log_normal()->set_sigma(0.5);
    }
    add_link(group, number);
    add_availability(group);
  }

  void add_link(v1::DeviceGroup& group, uint64_t number) {
    v1::AccessLink& link = *group.mutable_network();
    link.Clear();
    link.set_latency_s(chance(0.3) ? 0 : between(0.001, 0.1));
    link.set_radio_w(chance(0.5) ? 0 : 0.7);
    const auto kind = random_.below(4);
    if (kind < 2) {
      link.set_up_mbit_s(between(0.5, 50));
      link.set_down_mbit_s(between(0.5, 50));
    } else if (kind == 2) {
      v1::DrawnBandwidth& drawn = *link.mutable_drawn();
      drawn.mutable_down_mbit_s()->mutable_uniform()->set_low(0.3);
      drawn.mutable_down_mbit_s()->mutable_uniform()->set_high(30);
      drawn.set_up_per_down(between(0.1, 1));
      if (chance(0.7)) drawn.set_every_s(between(0.005, 0.5));
    }
    if (kind != 3 && chance(0.6)) return;
    v1::Gateway& gateway = *link.mutable_gateway();
    gateway.set_name(fmt::format("edge{}", number));
    gateway.set_up_mbit_s(between(0.5, 50));
    gateway.set_down_mbit_s(between(0.5, 50));
    gateway.set_latency_s(chance(0.5) ? 0 : 0.02);
    if (chance(0.4)) gateway.set_devices_each(2);
    if (kind != 3) return;
    for (int i = 0; i < 3; ++i) gateway.mutable_wifi()->add_station_mbit_s(between(1, 50));
  }

  void add_availability(v1::DeviceGroup& group) {
    const auto kind = random_.below(4);
    if (kind == 0) {
      v1::Churn& churn = *group.mutable_availability()->mutable_churn();
      churn.set_mean_on_s(between(0.05, 3));
      churn.set_mean_off_s(between(0.01, 1));
    } else if (kind == 1) {
      v1::ChargingWindow& window = *group.mutable_availability()->mutable_window();
      window.set_start_h(24 * random_.uniform());
      window.set_hours(1 + 22 * random_.uniform());
      window.set_spread_h(12 * random_.uniform());
    }
  }

  void add_outages(v1::Platform& platform) {
    int32_t clients = 0;
    for (const v1::DeviceGroup& group : platform.devices()) clients += group.count();
    const auto count = random_.below(4);
    for (uint64_t i = 0; i < count; ++i) {
      v1::Outage& outage = *platform.add_outages();
      const auto client = static_cast<int32_t>(random_.below(static_cast<uint64_t>(clients)));
      const auto kind = random_.below(3);
      if (kind == 0) outage.set_server(true);
      if (kind == 1) outage.set_client(client);
      if (kind == 2) outage.set_link_of_client(client);
      outage.set_start_s(between(0.001, 2));
      if (kind != 0 && chance(0.2)) continue;  // for ever
      outage.set_duration_s(between(0.001, 1));
      if (chance(0.4)) outage.set_every_s(outage.duration_s() + between(0.01, 2));
    }
  }

  void choose_schedule(v1::Scenario& scenario) {
    const auto kind = random_.below(8);
    scenario.mutable_federation()->mutable_selection()->mutable_all();
    if (kind == 0) return scenario.set_method("centralized");
    if (kind == 1) return scenario.set_method("local_only");
    v1::Synchronous& schedule =
        *scenario.mutable_federation()->mutable_schedule()->mutable_synchronous();
    schedule.set_on_failure(static_cast<v1::Synchronous::OnFailure>(1 + random_.below(4)));
    v1::Selection& selection = *scenario.mutable_federation()->mutable_selection();
    if (chance(0.5)) selection.mutable_random()->set_fraction(0.2 + 0.8 * random_.uniform());
  }

  Random random_;
};

#define HOLDS(condition) \
  if (!(condition)) throw std::runtime_error(fmt::format("{} does not hold", #condition))

struct Span {
  double start_s, end_s;
};

// Events end in order, and a device does one thing at a time, while it is on.
std::map<int32_t, std::vector<Span>> check_events(const v1::Result& result, double end_s) {
  const v1::Events& events = result.events();
  std::map<int32_t, std::vector<Span>> of_client;
  double last_s = 0;
  for (int i = 0; i < events.client_size(); ++i) {
    HOLDS(events.start_s(i) >= 0 && events.end_s(i) >= events.start_s(i));
    HOLDS(events.end_s(i) >= last_s && events.end_s(i) <= end_s);
    last_s = events.end_s(i);
    of_client[events.client(i)].push_back({events.start_s(i), events.end_s(i)});
  }
  for (auto& [client, spans] : of_client) {
    for (size_t i = 1; i < spans.size(); ++i) HOLDS(spans[i].start_s >= spans[i - 1].end_s);
  }
  return of_client;
}

// What was sent arrived or was lost; and the events say the same as the rounds.
void check_bytes(const v1::Result& result, const Workload& workload, bool sends) {
  int64_t sent = 0;
  for (const v1::Round& round : result.rounds()) {
    for (const v1::ClientRound& c : round.clients()) {
      sent += c.bytes_up() + c.bytes_down();
      const bool whole = sends && !c.dropped();
      const int64_t up = whole ? workload.bytes(test::share_of(c.depth())) : 0;
      const int64_t down = whole ? workload.bytes(test::share_of(2)) : 0;
      HOLDS(c.bytes_up() == up + c.lost_bytes_up());
      HOLDS(c.bytes_down() == down + c.lost_bytes_down());
    }
  }
  for (const int64_t bytes : result.events().bytes()) sent -= bytes;
  HOLDS(sent == 0);
}

// Busy, transferring, waiting and off make up the whole run of each device.
void check_seconds(const v1::Result& result, const platform::PlatformSpec& world,
                   const std::map<int32_t, std::vector<Span>>& events, double end_s) {
  const double rounding_s = 1e-9 * std::max(1.0, end_s);
  for (const v1::ClientSummary& client : result.clients()) {
    platform::Presence* presence = world.devices.at(client.client()).presence.get();
    const double on_s = platform::on_seconds(presence, 0, end_s);
    HOLDS(std::abs(on_s + client.off_s() - end_s) <= rounding_s);
    double active_s = 0;
    const auto found = events.find(client.client());
    if (found != events.end()) {
      for (const Span& span : found->second) {
        active_s += span.end_s - span.start_s;
        const double on_in_it_s = platform::on_seconds(presence, span.start_s, span.end_s);
        HOLDS(std::abs(on_in_it_s - (span.end_s - span.start_s)) <= rounding_s);
      }
    }
    HOLDS(active_s <= on_s + rounding_s);  // the rest it waits
  }
  std::map<int32_t, double> in_rounds_s;
  for (const v1::Round& round : result.rounds()) {
    HOLDS(round.end_s() >= round.start_s());
    for (const v1::ClientRound& c : round.clients()) {
      const double phases_s = c.download_s() + c.train_s() + c.upload_s();
      in_rounds_s[c.client()] += phases_s;
      HOLDS(c.wait_s() >= 0 && c.off_s() >= 0 && c.lost_s() <= phases_s + rounding_s);
      const double left_s = c.dropped() ? c.end_s() : round.end_s();
      const double in_round_s = left_s - round.start_s() - c.late_s();
      HOLDS(std::abs(phases_s + c.wait_s() + c.off_s() - in_round_s) <= rounding_s);
      HOLDS(c.end_s() <= round.end_s());
    }
  }
  for (const auto& [client, spans] : events) {
    if (client < 0) continue;
    double active_s = 0;
    for (const Span& span : spans) active_s += span.end_s - span.start_s;
    HOLDS(std::abs(active_s - in_rounds_s[client]) <= rounding_s);
  }
}

std::vector<double> run_world(uint64_t seed) {
  scenario::Loaded loaded = scenario::load_scenario(test::tiny_scenario(), {});
  loaded.scenario = WorldMaker(seed).make(loaded.scenario);
  scenario::Problems problems(loaded.locations);
  scenario::expand_method(loaded, problems);
  scenario::validate(loaded, problems);
  problems.throw_if_any();
  experiment::Experiment experiment(loaded, test::timing_only());
  const v1::Result result = experiment.run({}, {});
  const auto events = check_events(result, result.end_s());
  const bool sends = loaded.scenario.federation().schedule().has_synchronous();
  check_bytes(result, experiment.workload(), sends);
  check_seconds(result, experiment.platform(), events, result.end_s());
  double lost = 0, broken = 0;
  for (const v1::Round& round : result.rounds()) {
    for (const v1::ClientRound& c : round.clients()) lost += c.dropped();
  }
  for (const int end : result.events().end()) broken += end == v1::Event::BROKEN;
  return {static_cast<double>(result.rounds_size()), lost, broken};
}

TEST_CASE("200 random worlds end, go forward, lose no byte and no second") {
  double rounds = 0, dropped = 0, broken = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const test::Forked world = test::run_forked([seed] { return run_world(seed); });
    CAPTURE(seed);
    CHECK(world.error == "");
    if (world.values.size() != 3) continue;
    rounds += world.values[0];
    dropped += world.values[1];
    broken += world.values[2];
  }
  // The worlds are not all calm: hundreds of rounds, clients dropped, phases that break off.
  CHECK(rounds > 400);
  CHECK(dropped > 50);
  CHECK(broken > 200);
}

}  // namespace
}  // namespace fedclock::federation
