// How much of SimGrid's speed is left when the world is written as coroutines.
//
// One job, three programs: 1,000 rounds, in each of which 100 of 10,000 devices download 4 MB,
// work, and upload 4 MB, and the next round begins when all are done. "raw" is a loop over
// SimGrid's own completion callbacks, on the maestro; "task" is Task and Platform; "run" is the
// whole of `fedclock run --timing-only` from the first event to the result: selection, assignment,
// costs, schedule and recorder, with a merge on the server after each round. Each runs in a process
// of its own, alternating, and the table shows the median of three. The target is a ratio of at
// least 0.5.
//
// A shared link makes every event dear, so these rows run a tenth of the rounds.
//
//   clock [rounds]
#include <fmt/format.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <simgrid/s4u.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "sim/experiment/experiment.h"
#include "sim/kernel/combinators.h"
#include "sim/kernel/simulation.h"
#include "sim/platform/platform.h"

namespace {

namespace s4u = simgrid::s4u;
using fedclock::kernel::NetworkModel;
using fedclock::kernel::Simulation;
using fedclock::kernel::Task;
using fedclock::kernel::when_all;
using fedclock::platform::Interval;
using fedclock::platform::Platform;
using fedclock::platform::PlatformSpec;

constexpr std::size_t kDevices = 10000;
constexpr std::size_t kWindow = 100;
constexpr double kBytes = 4e6;

struct Job {
  NetworkModel model;
  bool shared;
  std::size_t rounds;
};

struct Measured {
  double activities_s;  // activities per second of processor time
  double build_s;
  double end_s;  // the last date, to see that both programs simulate the same thing
};

// Speeds differ, so that events do not fall together.
PlatformSpec make_spec(const Job& job) {
  PlatformSpec spec;
  spec.model = job.model;
  spec.server = {"server", 1e12, std::nullopt, std::nullopt};
  // A link that 100 uploads fill: they could take about 125 MB/s together.
  if (job.shared) spec.server.ingress_bytes_s = 1e8;
  for (std::size_t i = 0; i < kDevices; ++i) {
    const double spread = 1.0 + static_cast<double>(i * 7919 % kDevices) / kDevices;
    spec.devices.push_back({"d" + std::to_string(i), 1e9 * spread, 1.25e6 / spread, 1.25e6 * spread,
                            0.01 + 0.01 * spread});
  }
  return spec;
}

double work_flops(std::size_t device) { return 2e9 + 1e6 * static_cast<double>(device % 997); }
std::size_t chosen(std::size_t round, std::size_t i) { return (round * 1009 + i * 97) % kDevices; }

// Processor time of this process, so that a busy machine does not spoil the figures.
double cpu_s() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// --- raw SimGrid -------------------------------------------------------------------------------
class RawLoop {
 public:
  Measured run(const Job& job) {
    const double before_build_s = cpu_s();
    std::string name = "raw";
    std::string quiet = "--log=root.thresh:error";
    char* argv[] = {name.data(), quiet.data(), nullptr};
    int argc = 2;
    s4u::Engine engine(&argc, argv);
    if (job.model == NetworkModel::kFluid) {
      s4u::Engine::set_config(std::string("network/model:CM02"));
      s4u::Engine::set_config(std::string("network/TCP-gamma:0"));
      s4u::Engine::set_config(std::string("network/crosstraffic:0"));
    }
    build(make_spec(job));
    rounds_ = job.rounds;
    s4u::Activity::on_completion_cb([this](const s4u::Activity& activity) {
      auto* slot = activity.get_data<Slot>();
      if (slot != nullptr) advance(*slot);
    });
    const double build_s = cpu_s() - before_build_s;
    const double start_s = cpu_s();
    begin_round();
    engine.run();
    const double count = static_cast<double>(3 * kWindow * job.rounds);
    return {count / (cpu_s() - start_s), build_s, s4u::Engine::get_clock()};
  }

 private:
  struct Slot {
    std::size_t device = 0;
    int step = 0;
    s4u::ActivityPtr activity;
    s4u::ActivityPtr last;  // in SimGrid's hands until its callback has returned
  };

  void build(const PlatformSpec& spec) {
    auto* zone = s4u::create_star_zone("star");
    const auto link = [zone](const std::string& name, double bytes_s, double latency_s) {
      return s4u::LinkInRoute(zone->create_link(name, bytes_s)->set_latency(latency_s)->seal());
    };
    const auto add = [zone](s4u::Host* host, const std::vector<s4u::LinkInRoute>& out,
                            const std::vector<s4u::LinkInRoute>& in) {
      zone->add_route(host->get_netpoint(), nullptr, nullptr, nullptr, out, false);
      zone->add_route(nullptr, host->get_netpoint(), nullptr, nullptr, in, false);
    };
    for (const auto& device : spec.devices) {
      hosts_.push_back(zone->create_host(device.name, device.speed_flops)->seal());
      add(hosts_.back(), {link(device.name + ":up", device.up_bytes_s, device.latency_s)},
          {link(device.name + ":down", device.down_bytes_s, device.latency_s)});
    }
    server_ = zone->create_host(spec.server.name, spec.server.speed_flops)->seal();
    std::vector<s4u::LinkInRoute> ingress;
    if (spec.server.ingress_bytes_s) ingress = {link("ingress", *spec.server.ingress_bytes_s, 0)};
    add(server_, {}, ingress);
    zone->seal();
  }

  void begin_round() {
    if (round_ == rounds_) return;
    left_ = kWindow;
    for (std::size_t i = 0; i < kWindow; ++i) {
      slots_[i].device = chosen(round_, i);
      slots_[i].step = 0;
      advance(slots_[i]);
    }
    ++round_;
  }

  void transfer(Slot& slot, s4u::Host* from, s4u::Host* to) {
    s4u::CommPtr comm = s4u::Comm::sendto_init(from, to);
    comm->set_payload_size(static_cast<std::uint64_t>(kBytes));
    comm->set_data(&slot);
    slot.activity = comm;
    comm->start();
  }

  void advance(Slot& slot) {
    slot.last = slot.activity;
    s4u::Host* host = hosts_[slot.device];
    switch (slot.step++) {
      case 0: transfer(slot, server_, host); break;
      case 1: {
        s4u::ExecPtr exec =
            s4u::Exec::init()->set_flops_amount(work_flops(slot.device))->set_host(host);
        exec->set_data(&slot);
        slot.activity = exec;
        exec->start();
        break;
      }
      case 2: transfer(slot, host, server_); break;
      default:
        if (--left_ == 0) begin_round();
    }
  }

  std::vector<s4u::Host*> hosts_;
  s4u::Host* server_ = nullptr;
  std::array<Slot, kWindow> slots_;
  std::size_t rounds_ = 0;
  std::size_t round_ = 0;
  std::size_t left_ = 0;
};

// --- tasks -------------------------------------------------------------------------------------
Task<Interval> device_round(Platform& platform, std::size_t device) {
  Interval down = co_await platform.download(device, kBytes);
  co_await platform.compute(device, work_flops(device));
  Interval up = co_await platform.upload(device, kBytes);
  co_return Interval{down.start_s, up.end_s};
}

Task<void> all_rounds(Platform& platform, std::size_t rounds) {
  for (std::size_t round = 0; round < rounds; ++round) {
    std::vector<Task<Interval>> tasks;
    tasks.reserve(kWindow);
    for (std::size_t i = 0; i < kWindow; ++i) {
      tasks.push_back(device_round(platform, chosen(round, i)));
    }
    Task<std::vector<Interval>> all = when_all(std::move(tasks));
    co_await all;
  }
}

Measured run_tasks(const Job& job) {
  const double before_build_s = cpu_s();
  Simulation simulation;
  Platform platform(simulation, make_spec(job));
  const double build_s = cpu_s() - before_build_s;
  const double start_s = cpu_s();
  simulation.run(all_rounds(platform, job.rounds));
  const double count = static_cast<double>(3 * kWindow * job.rounds);
  return {count / (cpu_s() - start_s), build_s, simulation.now_s()};
}

// --- the whole program -------------------------------------------------------------------------
// The same fleet as a scenario: 100 groups of 100 equal devices.
fedclock::scenario::Loaded make_scenario(const Job& job) {
  fedclock::scenario::Loaded loaded;
  fedclock::v1::Scenario& s = loaded.scenario;
  s.mutable_task()->mutable_synthetic()->set_train_rows(kDevices * 2);
  s.mutable_task()->mutable_partition()->set_min_rows(1);
  s.mutable_task()->set_client_test_fraction(0);
  auto& architecture = *s.mutable_model()->mutable_pretrain()->mutable_architecture();
  architecture.set_kind(fedclock::v1::Architecture::ENCODER);
  architecture.set_layers(12);
  architecture.set_width(768);
  architecture.set_heads(12);
  auto& federation = *s.mutable_federation();
  federation.mutable_selection()->mutable_random()->set_count(kWindow);
  federation.mutable_assignment()->mutable_uniform();
  federation.mutable_local()->mutable_plain();
  federation.mutable_local()->set_steps(10);
  federation.mutable_schedule()->mutable_synchronous();
  federation.mutable_aggregation()->mutable_mean();
  s.mutable_stop()->set_rounds(static_cast<int>(job.rounds));
  auto& platform = *s.mutable_platform();
  platform.set_network_model(job.model == NetworkModel::kFluid ? fedclock::v1::FLUID
                                                               : fedclock::v1::TCP);
  for (int group = 0; group < 100; ++group) {
    const double spread = 1.0 + group / 100.0;
    auto& devices = *platform.add_devices();
    devices.set_count(kDevices / 100);
    auto& device = *devices.mutable_device();
    device.set_name("d" + std::to_string(group));
    device.set_memory_gb(1000);
    device.set_memory_bandwidth_gb_s(100);
    device.set_efficiency(0.5);
    device.set_step_overhead_s(0.01);
    device.add_modes()->set_fp32_tflops(spread);
    devices.mutable_network()->set_up_mbit_s(10 / spread);
    devices.mutable_network()->set_down_mbit_s(10 * spread);
    devices.mutable_network()->set_latency_s(0.01 + 0.01 * spread);
  }
  *platform.mutable_server()->mutable_device() = platform.devices(99).device();
  if (job.shared) platform.mutable_server()->set_ingress_mbit_s(800);
  return loaded;
}

Measured run_whole(const Job& job) {
  const double before_build_s = cpu_s();
  fedclock::experiment::Options options;
  options.timing_only = true;
  fedclock::experiment::Experiment experiment(make_scenario(job), options);
  const double start_s = cpu_s();
  const fedclock::v1::Result result = experiment.run({}, {});
  const double count = static_cast<double>((3 * kWindow + 1) * job.rounds);
  return {count / (cpu_s() - start_s), start_s - before_build_s,
          result.rounds(result.rounds_size() - 1).end_s()};
}

// --- the table ---------------------------------------------------------------------------------
Measured in_a_process_of_its_own(const std::function<Measured()>& run) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  const pid_t child = fork();
  if (child == 0) {
    const Measured measured = run();
    const bool written = write(ends[1], &measured, sizeof measured) == sizeof measured;
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  Measured measured{};
  if (read(ends[0], &measured, sizeof measured) != sizeof measured) std::abort();
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return measured;
}

Measured median(std::array<Measured, 3> runs) {
  std::sort(runs.begin(), runs.end(),
            [](const Measured& a, const Measured& b) { return a.activities_s < b.activities_s; });
  return runs[1];
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t rounds = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1000;
  fmt::print("{} of {} devices at a time, 3 activities each; per second of processor time\n",
             kWindow, kDevices);
  fmt::print("{:<8}{:<9}{:>7}{:>11}{:>11}{:>7}{:>11}{:>7}{:>15}{:>15}\n", "network", "ingress",
             "rounds", "raw /s", "task /s", "ratio", "run /s", "ratio", "raw ends s",
             "task ends s");
  for (const NetworkModel model : {NetworkModel::kFluid, NetworkModel::kTcp}) {
    for (const bool shared : {false, true}) {
      const Job job{model, shared, shared ? std::max<std::size_t>(1, rounds / 10) : rounds};
      std::fflush(nullptr);  // or each child prints it again
      std::array<Measured, 3> raw;
      std::array<Measured, 3> task;
      std::array<Measured, 3> whole;
      for (std::size_t i = 0; i < raw.size(); ++i) {
        raw[i] = in_a_process_of_its_own([&job] { return RawLoop().run(job); });
        task[i] = in_a_process_of_its_own([&job] { return run_tasks(job); });
        whole[i] = in_a_process_of_its_own([&job] { return run_whole(job); });
      }
      const Measured r = median(raw);
      const Measured t = median(task);
      const Measured w = median(whole);
      fmt::print("{:<8}{:<9}{:>7}{:>11.0f}{:>11.0f}{:>7.2f}{:>11.0f}{:>7.2f}{:>15.6f}{:>15.6f}\n",
                 model == NetworkModel::kFluid ? "fluid" : "tcp", shared ? "shared" : "private",
                 job.rounds, r.activities_s, t.activities_s, t.activities_s / r.activities_s,
                 w.activities_s, w.activities_s / r.activities_s, r.end_s, t.end_s);
    }
  }
}
