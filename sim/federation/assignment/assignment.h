// What each client tunes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "models/cost/work.h"
#include "models/learning/learner.h"
#include "models/learning/share.h"
#include "sim/federation/occasion.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::federation {

// A client's share of the model in a round: ranks of each layer's adapters, 0 where it has none.
struct Plan {
  std::vector<int64_t> tuned;
  std::vector<int64_t> held;       // that it computes with: the tuned ones, and perhaps others
  nn::ModuleExperts experts = {};  // beside the shared adapters; all of them are tuned

  int64_t depth() const { return learning::Share{tuned}.depth(); }
  int64_t rank() const;          // the largest
  int64_t expert_count() const;  // over all modules
  bool operator==(const Plan&) const = default;
};

// A part that has arrived, as far as an assignment may learn from it.
struct Observation {
  Occasion occasion;
  int32_t client = 0;
  int64_t rows = 0;
  Plan plan;
  double download_s = 0, train_s = 0, upload_s = 0;
  int64_t bytes_down = 0, bytes_up = 0;
  learning::Value update;      // for its numbers
  learning::Value embeddings;  // where they were asked for: numbers of mean_embeddings()
};

// What an assignment knows of a group of a hierarchical schedule.
struct Group {
  std::vector<int32_t> members;  // ascending
  int64_t rows = 0;
  int32_t chosen = 0;  // of them in a round, 0: all
};

class Assignment {
 public:
  virtual ~Assignment() = default;
  virtual Plan plan(const Occasion& occasion, int32_t client) = 0;
  // Whether the client has a part at all: one whose memory is too small may be left out.
  virtual bool takes_part(int32_t client) const = 0;
  virtual void observe(const Observation&) {}
  // Whether a client sends mean embeddings of its auxiliary rows with this part, and with what
  // noise.
  virtual std::optional<learning::EmbeddingNoise> embeddings(const Occasion&, int32_t) const {
    return std::nullopt;
  }
  // FLOPs of the server at the end of a round, for the choice of the next one's experts, where the
  // model has so many modules.
  virtual double choice_flops(int64_t /*round*/, int64_t /*modules*/) const { return 0; }

  // Of hierarchical schedules: their groups, before the first round; then, before each global
  // round, how many rounds each group has in it. Empty: the schedule's own number.
  virtual void group(const std::vector<Group>&) {}
  virtual std::vector<int32_t> frequencies(int64_t) { return {}; }
  // Seconds that a global round took, from its start to the end of its merge.
  virtual void observe_round(double) {}
};

struct AssignmentInputs {
  int64_t layers = 0;  // of the learning model
  int64_t rank = 0;    // where the assignment has none of its own
  // How many tuned layers each client's memory holds, -1 for not even the head; clients that it
  // does not name hold all.
  std::vector<int64_t> most_layers;
  // Of each client, in its first power mode.
  std::vector<double> full_depth_step_s;
  uint64_t seed = 0;
  learning::Learner* learner = nullptr;  // for assignments that look at numbers
  std::vector<nn::Target> targets;       // maps of a layer that carry adapters
  int64_t last_round = 0;                // where the scenario says it; 0: it does not
  // Of assignments that plan with time: seconds of a client's local training at a depth, in its
  // first power mode, and bytes that it receives and sends.
  std::function<double(int32_t client, int64_t depth)> training_s;
  std::function<int64_t(int64_t depth)> bytes_down, bytes_up;
  bool has_head = false;  // a head is trained besides (or a soft prompt, without layers)
};
std::unique_ptr<Assignment> make_assignment(const v1::Assignment& answer, AssignmentInputs inputs);

// The largest rank at which anyone may tune each layer: the global state's, at first.
std::vector<int64_t> global_ranks(const v1::Assignment& answer, int64_t layers, int64_t rank);

std::unique_ptr<Assignment> assign_uniform(const v1::UniformAssignment& answer,
                                           AssignmentInputs inputs);
std::unique_ptr<Assignment> assign_by_capacity(const v1::CapacityAssignment& answer,
                                               AssignmentInputs inputs);
std::unique_ptr<Assignment> assign_by_fisher(const v1::FisherAssignment& answer,
                                             AssignmentInputs inputs);
std::unique_ptr<Assignment> assign_jointly(const v1::JointAssignment& answer,
                                           AssignmentInputs inputs);

std::unique_ptr<Assignment> assign_experts(const v1::ExpertAssignment& answer,
                                           AssignmentInputs inputs);

// Of a model's modules, ascending, and so many experts, from 0 on, in each.
std::vector<nn::Module> modules_of(int64_t layers, const std::vector<nn::Target>& targets);
nn::ModuleExperts first_experts(const std::vector<nn::Module>& modules, int64_t count);

// What the files beside this one share.

// Level of each client among `levels`, by its capacity, slowest first (see CapacityAssignment).
// With kinds 0, ..., k - 1 of capacity, kind i has level i (levels - 1) / (k - 1), to the
// nearest, halves down.
std::vector<size_t> levels_by_capacity(const std::vector<double>& step_s, size_t levels);
// Whole layers of a share of them.
int64_t layers_of(double share, int64_t layers);
// `ranks` in the last `depth` layers, 0 below.
std::vector<int64_t> last_of(const std::vector<int64_t>& ranks, int64_t depth);
// What a client's memory holds of `depth` layers.
int64_t held_by_memory(const std::vector<int64_t>& most_layers, int32_t client, int64_t depth);

}  // namespace fedclock::federation
