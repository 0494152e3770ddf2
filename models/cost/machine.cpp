#include "models/cost/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "models/common/error.h"

namespace fedclock::cost {
namespace {

// Written so that NaN fails too.
void require_positive(const Machine& machine, std::string_view what, double value) {
  if (!(value > 0)) {
    throw InputError(
        fmt::format("{} \"{}\" is {}: a value above 0 is needed, a missing cost is "
                    "never 0 s",
                    what, machine.name, value));
  }
}

void check(const Machine& machine, const Work& work) {
  require_positive(machine, "peak rate (FLOP/s) of machine", machine.peak_flops);
  require_positive(machine, "efficiency of machine", machine.efficiency);
  require_positive(machine, "memory bandwidth (bytes/s) of machine",
                   machine.memory_bandwidth_bytes_s);
  require_positive(machine, "work (FLOPs) given to machine", work.flops());
  require_positive(machine, "memory traffic (bytes) given to machine", work.memory_bytes);
  if (!(machine.memory_efficiency >= 0)) {
    throw InputError(fmt::format("memory efficiency of machine \"{}\" is {}: 0 or more is needed",
                                 machine.name, machine.memory_efficiency));
  }
  if (!(machine.step_overhead_s >= 0)) {
    throw InputError(
        fmt::format("overhead (seconds a step) of machine \"{}\" is {}: 0 or more is "
                    "needed",
                    machine.name, machine.step_overhead_s));
  }
}

double compute_seconds(const Machine& machine, const Work& work) {
  return work.flops() / (machine.peak_flops * machine.efficiency);
}

double memory_seconds(const Machine& machine, const Work& work) {
  const double share = machine.memory_efficiency > 0 ? machine.memory_efficiency : 1.0;
  return work.memory_bytes / (machine.memory_bandwidth_bytes_s * share);
}

}  // namespace

double step_seconds(const Machine& machine, const Work& work) {
  check(machine, work);
  const double compute_s = compute_seconds(machine, work);
  const double memory_s = memory_seconds(machine, work);
  const bool in_turn = machine.memory_efficiency > 0;
  return (in_turn ? compute_s + memory_s : std::max(compute_s, memory_s)) + machine.step_overhead_s;
}

double taken_bytes(const Machine& machine, double model_bytes) {
  return machine.memory_overhead_bytes + machine.memory_factor * model_bytes;
}

bool is_memory_bound(const Machine& machine, const Work& work) {
  check(machine, work);
  return memory_seconds(machine, work) > compute_seconds(machine, work);
}

}  // namespace fedclock::cost
