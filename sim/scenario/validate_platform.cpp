// Checks of the platform and of what is timed on it. A missing or impossible cost is refused here,
// because it would become a wrong time without a word.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "models/cost/presets.h"
#include "sim/scenario/check.h"
#include "sim/scenario/suggest.h"

namespace fedclock::scenario {
namespace {

// Plausible ranges. A value outside is a slip of units more often than a machine.
constexpr double kLeastMemory_gb = 0.001, kMostMemory_gb = 4096;
constexpr double kSlowestMemory_gb_s = 0.01, kFastestMemory_gb_s = 100000;
constexpr double kSlowestPeak_tflops = 1e-5, kFastestFp32_tflops = 1000;
constexpr double kFastestFp16_tflops = 20000;

void check_modes(const v1::Device& machine, const Fields& device) {
  if (!device.require("modes", "write at least one power mode with its fp32_tflops")) return;
  std::set<std::string> names;
  for (int i = 0; i < machine.modes_size(); ++i) {
    const Fields mode = device.item("modes", i);
    const v1::PowerMode& values = machine.modes(i);
    if (mode.require("name", "give the mode a name, such as \"15W\"") &&
        !names.insert(values.name()).second) {
      mode.problem("name", "is the name of an earlier mode too; each mode has its own");
    }
    mode.require("fp32_tflops", "write the peak rate in TFLOP/s (10^12 FLOP/s)");
    for (const auto& [name, most] : {std::pair{"fp32_tflops", kFastestFp32_tflops},
                                     std::pair{"fp16_tflops", kFastestFp16_tflops}}) {
      mode.within(name, kSlowestPeak_tflops, most,
                  slip_hint(mode.number(name), kSlowestPeak_tflops, most,
                            {{1e3, "GFLOP/s"}, {1e12, "FLOP/s"}}, "TFLOP/s"));
    }
    mode.within("busy_w", 0, 100000);
    if (values.has_busy_w() && machine.has_idle_w() && values.busy_w() < machine.idle_w()) {
      mode.problem("busy_w", fmt::format("is below the idle power, {} W", machine.idle_w()));
    }
  }
}

}  // namespace

void check_device(const v1::Device& machine, const Fields& device) {
  if (device.require("name", "give the device a name") &&
      machine.name().find_first_of(",\"\r\n") != std::string::npos) {
    device.problem("name",
                   "stands in tables and folder names; leave out commas, double quotes "
                   "and line ends");
  }
  if (device.require("memory_gb", "write the memory for training in GB (10^9 bytes)")) {
    device.within("memory_gb", kLeastMemory_gb, kMostMemory_gb,
                  slip_hint(machine.memory_gb(), kLeastMemory_gb, kMostMemory_gb,
                            {{1e3, "MB"}, {1e6, "kB"}, {1e9, "bytes"}}, "GB"));
  }
  if (device.require("memory_bandwidth_gb_s", "write the memory's bandwidth in GB/s")) {
    device.within("memory_bandwidth_gb_s", kSlowestMemory_gb_s, kFastestMemory_gb_s,
                  slip_hint(machine.memory_bandwidth_gb_s(), kSlowestMemory_gb_s,
                            kFastestMemory_gb_s, {{1e3, "MB/s"}, {1e9, "bytes/s"}}, "GB/s"));
  }
  check_modes(machine, device);
  if (device.require("efficiency", "write the share of the peak rate that training reaches")) {
    device.above("efficiency", 0, 1,
                 unit_hint(machine.efficiency(), 100, 0, 1, "percent", "a share of 1"));
  }
  if (device.require("step_overhead_s", "write the fixed seconds of a step, 0 for none")) {
    device.within("step_overhead_s", 0, 10,
                  slip_hint(machine.step_overhead_s(), 0, 10, {{1e3, "ms"}, {1e6, "us"}}, "s"));
  }
  device.within("idle_w", 0, 100000);
  if (device.has("fp16_efficiency")) device.above("fp16_efficiency", 0, 1);
  if (device.has("memory_efficiency")) device.above("memory_efficiency", 0, 100);
  device.within("memory_factor", 0, 100);
  device.within("memory_overhead_gb", 0, kMostMemory_gb);
}

namespace {

void check_group(const v1::Scenario& scenario, const v1::DeviceGroup& values, const Fields& group) {
  group.within("count", 1, 1e8, "leave the whole group out where there is no such device");
  check_world_of_group(scenario, values, group);
  if (!group.require("device", "name a `profile`, or write the `device` out")) return;
  check_device(values.device(), group.child("device"));
  if (values.has_mode() && !values.has_mode_change() && values.device().modes_size() > 0 &&
      modes_used(values).empty()) {
    std::vector<std::string> names;
    for (const v1::PowerMode& mode : values.device().modes()) names.push_back(mode.name());
    group.problem("mode", "is no power mode of this device; " + suggest_name(values.mode(), names));
  }
}

void check_server(const v1::Scenario& scenario, const Fields& platform) {
  const v1::Schedule& schedule = scenario.federation().schedule();
  if (!scenario.platform().has_server()) {
    if (schedule.has_local_only()) return;
    platform.require("server", schedule.has_centralized()
                                   ? "centralized training runs on it: name its `profile`"
                                   : "the schedule merges on it: name its `profile`");
    return;
  }
  const Fields server = platform.child("server");
  if (server.require("device", "name a `profile`, or write the `device` out")) {
    check_device(scenario.platform().server().device(), server.child("device"));
  }
  for (const char* name : {"ingress_mbit_s", "egress_mbit_s"}) {
    if (server.has(name)) check_rate(server, name, "leave it out where it is never a bottleneck");
  }
}

// FP16 needs a rate in 16-bit in every mode that is used: the cost model asks each machine of the
// platform for its speed, whether or not it trains.
void check_precision(const v1::Scenario& scenario, Problems& problems) {
  if (scenario.timing().precision() != v1::FP16) return;
  const auto check = [&](const v1::Device& device, int mode, const std::string& path) {
    Fields(device.modes(mode), item_path(path + ".modes", mode), problems)
        .require("fp16_tflops",
                 fmt::format("timing.precision is FP16, and mode \"{}\" is used: write its peak "
                             "rate in 16-bit in TFLOP/s (10^12 FLOP/s), or precision: FP32",
                             device.modes(mode).name()));
  };
  const v1::Platform& platform = scenario.platform();
  const v1::Device& server = platform.server().device();
  if (server.modes_size() > 0) check(server, 0, "platform.server.device");
  for (int i = 0; i < platform.devices_size(); ++i) {
    const v1::DeviceGroup& group = platform.devices(i);
    for (const int mode : modes_used(group)) {
      check(group.device(), mode, item_path("platform.devices", i) + ".device");
    }
    const v1::Device& gateway = group.network().gateway().device();
    if (gateway.modes_size() > 0) {
      check(gateway, 0, item_path("platform.devices", i) + ".network.gateway.device");
    }
  }
}

}  // namespace

void check_platform(const v1::Scenario& scenario, Problems& problems) {
  const Fields all(scenario, "", problems);
  if (!all.require("platform", "write platform { devices { ... } server { ... } }")) return;
  const Fields platform = all.child("platform");
  platform.require("devices", "write at least one group of devices");
  for (int i = 0; i < scenario.platform().devices_size(); ++i) {
    check_group(scenario, scenario.platform().devices(i), platform.item("devices", i));
  }
  check_world(scenario, platform);
  check_server(scenario, platform);
  check_precision(scenario, problems);
}

void check_timing(const v1::Scenario& scenario, Problems& problems) {
  const Fields all(scenario, "", problems);
  if (!scenario.has_timing()) return;
  const v1::Timing& values = scenario.timing();
  const Fields timing = all.child("timing");
  if (values.precision() == v1::BF16) {
    timing.problem("precision",
                   "the devices' rates are known in FP32 and FP16: write FP16, which moves the "
                   "same bytes, at the device's rate in 16-bit");
  }
  timing.at_least("batch_size", 1);
  timing.at_least("sequence_tokens", 1);
  const auto prompt = static_cast<double>(prompt_tokens(scenario));
  const std::string besides =
      prompt > 0 ? fmt::format(", less the {} tokens of the prompt", prompt) : "";
  if (!values.has_architecture()) {
    const v1::Architecture& learning = scenario.model().pretrain().architecture();
    if (scenario.model().has_pretrain() && learning.max_tokens() > 0) {
      timing.within("sequence_tokens", 1, learning.max_tokens() - prompt,
                    "the model's longest sequence is the limit" + besides);
    }
    return;
  }
  const std::vector<std::string> names = cost::preset_names();
  if (std::find(names.begin(), names.end(), values.architecture()) == names.end()) {
    timing.problem("architecture",
                   "is no known architecture; " + suggest_name(values.architecture(), names));
    return;
  }
  const nn::Architecture timed = cost::architecture_preset(values.architecture());
  const auto layers = learning_layers(scenario);
  if (layers && timed.layers % *layers != 0) {
    timing.problem("architecture",
                   fmt::format("has {} layers, no multiple of the {} that learn: depth could not "
                               "be mapped layer by layer; change "
                               "model.pretrain.architecture.layers to a divisor of {}",
                               timed.layers, *layers, timed.layers));
  }
  timing.within("sequence_tokens", 1, static_cast<double>(timed.max_tokens) - prompt,
                "the timed architecture's longest sequence is the limit" + besides);
  for (const int target : scenario.model().adapter().targets()) {
    if (target == v1::GATE && !nn::linear_shape(timed, nn::Target::kGate)) {
      timing.problem("architecture", "has no gate, but model.adapter.targets names GATE");
    }
  }
}

}  // namespace fedclock::scenario
