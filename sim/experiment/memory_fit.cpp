#include "sim/experiment/memory_fit.h"

#include <fmt/format.h>

#include "sim/federation/assignment/assignment.h"

namespace fedclock::experiment {

namespace {

constexpr double kGiga = 1e9;

double needed_bytes(const cost::Machine& on, const federation::Workload& workload,
                    const learning::Share& whole, int64_t depth) {
  learning::Share tuned = whole;
  tuned.ranks = federation::last_of(whole.ranks, depth);
  return cost::taken_bytes(on, workload.memory(tuned).total());
}

int64_t most_layers(const cost::Machine& on, const federation::Workload& workload,
                    const learning::Share& whole) {
  const int64_t least = workload.spec().trains_without_layers() ? 0 : 1;
  for (int64_t depth = whole.depth(); depth >= least; --depth) {
    if (needed_bytes(on, workload, whole, depth) <= on.memory_bytes) return depth;
  }
  return -1;
}

std::string too_small(const cost::Machine& on, const federation::Workload& workload,
                      const learning::Share& whole, const std::string& timed_name,
                      const char* remedy) {
  const int64_t depth = whole.depth();
  const double needed = needed_bytes(on, workload, whole, depth);
  const bool prompt = workload.spec().adapter.prompt.tokens > 0;
  return fmt::format(
      "{} does not hold the training of {} {}, which needs {:.3g} GB: {}take smaller batches or "
      "another device{}",
      on.name, timed_name, prompt ? "under a soft prompt" : fmt::format("at depth {}", depth),
      needed / kGiga, prompt ? "" : "tune fewer layers, ", remedy);
}

}  // namespace

MemoryFit fit_memory(const v1::Scenario& scenario, const World& world,
                     const federation::Workload& workload, const learning::Share& whole,
                     const std::string& timed_name, scenario::Problems& problems) {
  const v1::Platform& platform = scenario.platform();
  const int64_t depth = whole.depth();
  MemoryFit fit;
  const auto refuse = [&](const cost::Machine& on, const std::string& path, const char* remedy) {
    problems.add(path + ".device.memory_gb", fmt::format("{}", on.memory_bytes / kGiga),
                 too_small(on, workload, whole, timed_name, remedy));
  };
  if (scenario.federation().schedule().has_centralized()) {
    if (most_layers(*world.server, workload, whole) < depth)
      refuse(*world.server, "platform.server", "");
    return fit;
  }
  // The other assignments shrink a device's depth to what it holds.
  const v1::Assignment& assignment = scenario.federation().assignment();
  const auto answer = assignment.has_uniform() ? assignment.uniform().when_too_large()
                      : assignment.has_experts() || assignment.has_prompt()
                          ? v1::UniformAssignment::REFUSE
                          : v1::UniformAssignment::SHRINK_DEPTH;
  const int64_t least_depth = assignment.has_uniform() || assignment.has_prompt() ? 0
                              : assignment.has_joint() ? assignment.joint().least_depth()
                                                       : 1;
  int64_t left = 0;  // that take part
  for (int group = 0; group < platform.devices_size(); ++group) {
    const int32_t count = platform.devices(group).count();
    const cost::Machine& on = world.machines[fit.most_layers.size()]->front();
    const int64_t most = most_layers(on, workload, whole);
    fit.most_layers.insert(fit.most_layers.end(), static_cast<size_t>(count), most);
    const bool out =
        most < least_depth || (most < depth && answer == v1::UniformAssignment::LEAVE_OUT);
    if (!out) left += count;
    if (most == depth) continue;
    if (answer == v1::UniformAssignment::REFUSE) {
      refuse(on, scenario::item_path("platform.devices", group),
             assignment.has_experts() ? ", or give clients fewer experts (max_experts)"
             : assignment.has_prompt()
                 ? ", or shorten the prompt (federation.assignment.prompt.tokens)"
             : scenario.federation().local().has_clustered_experts()
                 ? ", or have fewer experts (federation.local.clustered_experts.max_experts)"
             : scenario.federation().local().has_mutual()
                 ? " (mutual trains two models side by side), or say in "
                   "federation.assignment.uniform.when_too_large what becomes of it"
                 : ", or say in federation.assignment.uniform.when_too_large what becomes of it");
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
    problems.add(assignment.has_uniform() ? "federation.assignment.uniform.when_too_large"
                                          : "federation.assignment",
                 "",
                 "leaves no client: no device's memory holds the training; take smaller batches, "
                 "fewer tokens or other devices");
  }
  return fit;
}

}  // namespace fedclock::experiment
