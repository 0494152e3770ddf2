// What a plan costs: bytes that travel, work on a device, memory. Computed once for each depth.
//
// The timed architecture may be larger than the one that learns: then each layer of the learning
// model stands for (timed layers / learning layers) layers, and depth is scaled with it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/cost/cost.h"
#include "models/learning/settings.h"
#include "models/nn/architecture.h"
#include "sim/federation/assignment/assignment.h"

namespace fedclock::federation {

struct Transfer {
  int64_t download_bytes = 0, upload_bytes = 0;
};

struct WorkloadSpec {
  nn::Architecture timed;
  int64_t learning_layers = 0;
  nn::AdapterSpec adapter;
  int64_t head_outputs = 0;     // classes; 0: language modelling
  int64_t deepest = 0;          // tuned layers of the global state, in the learning model
  int64_t batch_rows = 0;       // a step, on the devices
  int64_t sequence_tokens = 0;  // a row, on the devices
  int64_t bytes_per_element = 4;
  int64_t optimizer_moments = 2;
};

class Workload {
 public:
  // InputError where the timed layers are no multiple of the learning model's.
  explicit Workload(const WorkloadSpec& spec);

  // Down goes the whole global state, because the forward pass needs all of it; up come the
  // adapters of the tuned layers and the head. Both as safetensors files, headers included.
  // Depths from 0 to the learning model's layers; ProgrammerError for one that trains nothing.
  const Transfer& transfer(const Plan& plan) const;

  // Seconds of one optimiser step.
  double step_seconds(const cost::Machine& machine, const Plan& plan) const;
  // Work that lasts as long as the training of so many rows on an otherwise idle machine in its
  // present mode. The last batch of an epoch may be smaller, and takes less.
  double training_flops(const cost::Machine& machine, const Plan& plan,
                        const learning::TrainSettings& settings, int64_t rows) const;
  // The same for a merge of so many updates of the global state's size on the server.
  double merge_flops(const cost::Machine& server, int64_t clients) const;

  cost::Memory memory(const Plan& plan) const;
  const WorkloadSpec& spec() const { return spec_; }

 private:
  struct DepthCost {
    Transfer transfer;
    cost::Work step;
  };
  const DepthCost& cost_of(const Plan& plan) const;
  cost::TrainingPlan timed_plan(int64_t depth) const;

  WorkloadSpec spec_;
  int64_t global_elements_ = 0;
  std::vector<std::optional<DepthCost>> costs_;  // by depth of the learning model
};

// Rate that training reaches on the machine.
double effective_flops(const cost::Machine& machine);

}  // namespace fedclock::federation
