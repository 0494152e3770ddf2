// What a share of the model costs: bytes that travel, work on a device, memory. Computed once for
// each share.
//
// The timed architecture may be larger than the one that learns: then each layer of the learning
// model stands for (timed layers / learning layers) layers, and depth is scaled with it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "models/cost/cost.h"
#include "models/learning/settings.h"
#include "models/learning/share.h"
#include "models/nn/architecture.h"

namespace fedclock::federation {

struct WorkloadSpec {
  nn::Architecture timed;
  int64_t learning_layers = 0;
  nn::AdapterSpec adapter;      // its rank: where no other is given
  int64_t head_outputs = 0;     // classes; 0: language modelling
  int64_t batch_rows = 0;       // a step, on the devices
  int64_t sequence_tokens = 0;  // a row, on the devices
  int64_t bytes_per_element = 4;
  int64_t optimizer_moments = 2;
  int64_t models = 1;  // that a client trains side by side, each with its share

  // Whether there is something to train beside the layers' adapters.
  bool trains_without_layers() const { return head_outputs > 0 || adapter.prompt.tokens > 0; }
};

class Workload {
 public:
  // InputError where the timed layers are no multiple of the learning model's.
  explicit Workload(const WorkloadSpec& spec);

  // Of a share's tensors, as a safetensors file, header included (experts' numbers are in their
  // names); and their elements.
  int64_t bytes(const learning::Share& share) const;
  // What the mean embeddings of a share's experts and tokens add to that: "layers.N.<target>
  // .embeddings" [experts + 1, rank] of each module with experts.
  int64_t embedding_bytes(const learning::Share& share) const;
  int64_t elements(const learning::Share& share) const;
  // Of whole matrices [out, in] in the place of the share's adapters, and its head.
  int64_t bytes_of_matrices(const learning::Share& share) const;
  void for_each_adapter(
      const learning::Share& share,
      const std::function<void(int64_t rank, int64_t in, int64_t out)>& look) const;

  // Seconds of one optimiser step that trains this share. Adapters that are held and not trained
  // are taken to be merged into the frozen weights.
  double step_seconds(const cost::Machine& machine, const learning::Share& trained) const;
  // Seconds of the training of so many rows on an otherwise idle machine in its present mode. The
  // last batch of an epoch may be smaller, and takes less.
  double training_seconds(const cost::Machine& machine, const learning::Share& trained,
                          const learning::TrainSettings& settings, int64_t rows) const;
  // Flops of work that lasts so long.
  double training_flops(const cost::Machine& machine, const learning::Share& trained,
                        const learning::TrainSettings& settings, int64_t rows) const;
  // Flops of a forward pass of so many rows with this share, in batches as they are trained, the
  // last one smaller; without the overhead of steps.
  double inference_flops(const cost::Machine& machine, const learning::Share& share,
                         int64_t rows) const;
  // The same for work that is no training.
  double flops_of(const cost::Machine& machine, const cost::Work& work) const;

  cost::Memory memory(const learning::Share& trained) const;
  // Maps with adapters, over all timed layers.
  int64_t modules() const;
  const WorkloadSpec& spec() const { return spec_; }

 private:
  struct Cost {
    int64_t bytes = 0, elements = 0;
    cost::Work step;  // nothing for a share that trains nothing
  };
  const Cost& cost_of(const learning::Share& share) const;
  enum class Form { kFactors, kMatrices, kWithEmbeddings };
  std::vector<cost::TensorInfo> tensors(const learning::Share& share, Form form) const;
  std::vector<int64_t> timed_ranks(const learning::Share& share) const;
  cost::TrainingPlan timed_plan(const learning::Share& trained) const;
  int64_t layers_each() const;  // timed ones for each layer that learns

  WorkloadSpec spec_;
  mutable std::map<learning::Share, Cost> costs_;
};

// Rate that training reaches on the machine.
double effective_flops(const cost::Machine& machine);

}  // namespace fedclock::federation
