// One run of a scenario: data, base, learner, platform and federation put together.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/data/partition.h"
#include "models/data/readers.h"
#include "models/learning/base.h"
#include "models/learning/graph_learner.h"
#include "sim/experiment/memory_fit.h"
#include "sim/experiment/world.h"
#include "sim/federation/federation.h"
#include "sim/results/result.pb.h"
#include "sim/scenario/load.h"

namespace fedclock::experiment {

struct Options {
  std::filesystem::path data_folder;          // before the scenario's own; may be empty
  std::filesystem::path default_data_folder;  // where the scenario names none; may be empty
  std::filesystem::path cache_folder;         // for pretrained bases; empty: nothing is kept
  std::shared_ptr<learning::Store> store;     // of what was learnt; nullptr: nothing is kept
  int workers = 1;
  bool timing_only = false;          // skip the learning; the clock is the same to the last bit
  bool allow_out_of_memory = false;  // do not refuse a device whose memory is too small
  std::string version;               // of fedclock
  std::string base_numerics;         // learning::pretraining_libraries(), part of a base's name
  std::string numerics;              // learning::learning_libraries(), part of the result; or none
  learning::Device device = learning::Device::kCpu;
};

struct Observer {
  learning::BaseReport base;
  results::Recorder::Observer round;  // in order, once a round's numbers are known
};

// A scenario with its data read, its rows dealt out and its costs known: what can be checked
// before anything is computed.
class Experiment {
 public:
  // Expects a loaded and validated scenario. Throws InputError with all problems that the data and
  // the model's files bring to light, at the places of the fields.
  Experiment(const scenario::Loaded& loaded, const Options& options);

  const v1::Scenario& scenario() const { return loaded_.scenario; }
  const data::Dataset& train() const { return data_.train; }
  // Of all rows of each client, own test rows included.
  const data::Partition& partition() const { return partition_; }
  const std::vector<federation::Client>& clients() const { return clients_; }
  const federation::Workload& workload() const { return *workload_; }
  const platform::PlatformSpec& platform() const { return world_.platform; }
  const std::string& timed_name() const { return timed_name_; }
  // Everything that anyone tunes; and the last `depth` layers of it, or of all layers where it has
  // fewer.
  learning::Share whole_share() const { return client_share_; }
  learning::Share share_of(int64_t depth) const;
  // The five answers but the schedule, for one run.
  federation::Answers make_answers(learning::Learner& learner) const;

  // What became of the learner's jobs in run(); not part of the result.
  const learning::JobCounts& job_counts() const { return job_counts_; }
  // Of activations, in each worker of run(), at most; not part of the result.
  int64_t buffer_bytes() const { return buffer_bytes_; }

  // The result so far: all but the rounds.
  v1::Result description();

  // Once in a process, because SimGrid's clock does not go back. Writes final_adapter/ into `out`
  // where it is not empty and something was learnt.
  v1::Result run(const Observer& observer, const std::filesystem::path& out);

 private:
  void read_data(scenario::Problems& problems);
  data::InstructionSpec instruction_spec(const v1::FileTask& files) const;
  void read_architecture(scenario::Problems& problems);
  void deal_rows(scenario::Problems& problems);
  void make_clients();
  void make_workload(scenario::Problems& problems);
  void make_shares(scenario::Problems& problems);
  void require_auxiliary_rows(scenario::Problems& problems) const;
  void time_clients();
  void add_costs(federation::AssignmentInputs& inputs) const;
  std::unique_ptr<platform::Platform> make_platform(kernel::Simulation& simulation) const;
  void add_off_times(platform::Platform& world, v1::Result& result) const;
  void check_corpus(scenario::Problems& problems) const;
  std::filesystem::path data_path(const std::string& folder, const std::string& file,
                                  const std::string& field) const;
  std::vector<std::string> corpus() const;
  std::string model_name() const;
  void require_training_rows(scenario::Problems& problems) const;
  // Named without being pretrained; loaded when something is really computed.
  struct BaseSource {
    Digest name;
    std::string origin;
    std::function<learning::Base(const learning::BaseReport&)> load;
  };
  const BaseSource& base_source();
  std::unique_ptr<learning::Learner> learner(const learning::BaseReport& report);

  scenario::Loaded loaded_;
  Options options_;
  data::TrainAndTest data_;
  nn::Architecture architecture_;  // that learns
  std::string timed_name_;
  data::Partition partition_;
  std::vector<federation::Client> clients_;
  World world_;
  MemoryFit fit_;
  std::unique_ptr<federation::Workload> workload_;
  std::vector<int64_t> ranks_;  // of the state that everyone starts from
  // That state, and the most that a client has of it.
  learning::Share initial_share_, client_share_;
  std::optional<BaseSource> base_;
  learning::JobCounts job_counts_;
  int64_t buffer_bytes_ = 0;
};

}  // namespace fedclock::experiment
