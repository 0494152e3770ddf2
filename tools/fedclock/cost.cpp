#include <fmt/format.h>

#include <memory>

#include "sim/experiment/convert.h"
#include "tools/fedclock/commands.h"

namespace fedclock::tools {

namespace {

// A line for each depth: what a step, a round's upload and the memory cost on one device.
void print_device(const experiment::Experiment& experiment, const v1::DeviceGroup& group) {
  const cost::Machine machine = experiment::machine(group.device(), group.mode(),
                                                    experiment.scenario().timing().precision());
  const std::string mode = group.mode().empty() ? group.device().modes(0).name() : group.mode();
  const federation::Workload& workload = experiment.workload();
  const bool has_head = workload.spec().head_outputs > 0;
  for (int64_t depth = has_head ? 0 : 1; depth <= workload.spec().deepest; ++depth) {
    const cost::Memory memory = workload.memory({depth});
    fmt::print("{:<18} {:<8} {:>5} {:>12.4f} {:>10.3f} {:>12} {:>12}  {}\n",
               group.device().name(), mode, depth, workload.step_seconds(machine, {depth}),
               memory.total() / 1e9, workload.transfer({depth}).upload_bytes,
               workload.transfer({depth}).download_bytes,
               memory.total() > machine.memory_bytes ? "OOM" : "fits");
  }
}

void print_costs(const ScenarioOptions& options) {
  experiment::Options how = experiment_options(options);
  how.allow_out_of_memory = true;
  how.timing_only = true;
  const experiment::Experiment experiment(load(options), how);
  const federation::WorkloadSpec& spec = experiment.workload().spec();
  fmt::print("timed: {} ({} layers, {} tokens, {} rows a step, rank {})\n",
             experiment.timed_name(), spec.timed.layers, spec.sequence_tokens, spec.batch_rows,
             spec.adapter.rank);
  if (spec.timed.layers != spec.learning_layers) {
    fmt::print("each layer of the learning model stands for {} timed layers\n",
               spec.timed.layers / spec.learning_layers);
  }
  fmt::print("{:<18} {:<8} {:>5} {:>12} {:>10} {:>12} {:>12}\n", "device", "mode", "depth",
             "step_s", "memory_GB", "upload_B", "download_B");
  for (const v1::DeviceGroup& group : experiment.scenario().platform().devices()) {
    print_device(experiment, group);
  }
}

}  // namespace

void add_cost(CLI::App& program) {
  auto options = std::make_shared<ScenarioOptions>();
  CLI::App* command = program.add_subcommand(
      "cost", "Print what each device pays at each depth: step time, memory, traffic");
  add_scenario_options(*command, *options);
  command->callback([options] { print_costs(*options); });
}

}  // namespace fedclock::tools
