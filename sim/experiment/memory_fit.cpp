#include "sim/experiment/memory_fit.h"

#include <fmt/format.h>

namespace fedclock::experiment {

namespace {

constexpr double kGiga = 1e9;

int64_t most_layers(const cost::Machine& on, const federation::Workload& workload) {
  const int64_t least = workload.spec().head_outputs > 0 ? 0 : 1;
  for (int64_t depth = workload.spec().deepest; depth >= least; --depth) {
    if (cost::taken_bytes(on, workload.memory({depth}).total()) <= on.memory_bytes) return depth;
  }
  return -1;
}

std::string too_small(const cost::Machine& on, const federation::Workload& workload,
                      const std::string& timed_name, const char* remedy) {
  const int64_t depth = workload.spec().deepest;
  const double needed = cost::taken_bytes(on, workload.memory({depth}).total());
  return fmt::format(
      "{} does not hold the training of {} at depth {}, which needs {:.3g} GB: tune fewer layers, "
      "take smaller batches or another device{}",
      on.name, timed_name, depth, needed / kGiga, remedy);
}

}  // namespace

MemoryFit fit_memory(const v1::Scenario& scenario, const World& world,
                     const federation::Workload& workload, const std::string& timed_name,
                     scenario::Problems& problems) {
  const v1::Platform& platform = scenario.platform();
  const int64_t depth = workload.spec().deepest;
  MemoryFit fit;
  const auto refuse = [&](const cost::Machine& on, const std::string& path, const char* remedy) {
    problems.add(path + ".device.memory_gb", fmt::format("{}", on.memory_bytes / kGiga),
                 too_small(on, workload, timed_name, remedy));
  };
  if (scenario.federation().schedule().has_centralized()) {
    if (most_layers(*world.server, workload) < depth) refuse(*world.server, "platform.server", "");
    return fit;
  }
  const auto answer = scenario.federation().assignment().uniform().when_too_large();
  int64_t left = 0;  // that take part
  for (int group = 0; group < platform.devices_size(); ++group) {
    const int32_t count = platform.devices(group).count();
    const cost::Machine& on = world.machines[fit.most_layers.size()]->front();
    const int64_t most = most_layers(on, workload);
    fit.most_layers.insert(fit.most_layers.end(), static_cast<size_t>(count), most);
    const bool out = most < 0 || (most < depth && answer == v1::UniformAssignment::LEAVE_OUT);
    if (!out) left += count;
    if (most == depth) continue;
    if (answer == v1::UniformAssignment::REFUSE) {
      refuse(on, scenario::item_path("platform.devices", group),
             ", or say in federation.assignment.uniform.when_too_large what becomes of it");
      continue;
    }
    fit.notes.push_back(fmt::format("{} x {}: memory of {} GB holds {} of {} layers: {}", count,
                                    on.name, on.memory_bytes / kGiga,
                                    most < 0 ? "none" : fmt::format("{}", most), depth,
                                    out ? "left out" : fmt::format("tunes {}", most)));
  }
  const int32_t least = scenario.federation().schedule().synchronous().min_reachable();
  if (left > 0 && left < least && problems.empty()) {
    problems.add("federation.schedule.synchronous.min_reachable", fmt::format("{}", least),
                 fmt::format("is more than the {} clients whose memory holds the training", left));
  }
  if (left == 0 && problems.empty()) {
    problems.add("federation.assignment.uniform.when_too_large", "",
                 "leaves no client: no device's memory holds the training; take smaller batches, "
                 "fewer tokens or other devices");
  }
  return fit;
}

}  // namespace fedclock::experiment
