// What the federation's answers are made from: shares of the model, and what they cost each client.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/experiment/convert.h"
#include "sim/experiment/experiment.h"
#include "sim/scenario/check.h"
#include "sim/scenario/expert_bounds.h"

namespace fedclock::experiment {

void Experiment::make_shares(scenario::Problems& problems) {
  const v1::Scenario& s = scenario();
  initial_share_ = {ranks_};
  client_share_ = federation::trained_share(s.federation().local(), initial_share_,
                                            adapter_spec(s).targets, std::ssize(clients_));
  require_auxiliary_rows(problems);
  if (!s.federation().assignment().has_experts()) return;
  const v1::ExpertAssignment& answer = s.federation().assignment().experts();
  const auto modules = federation::modules_of(architecture_.layers, adapter_spec(s).targets);
  const auto bounds = scenario::expert_bounds(answer, std::ssize(clients_));
  initial_share_.experts = federation::first_experts(modules, answer.experts());
  client_share_.experts =
      federation::first_experts(modules, std::min<int64_t>(bounds.most, answer.experts()));
}

void Experiment::require_auxiliary_rows(scenario::Problems& problems) const {
  const v1::Federation& f = scenario().federation();
  const bool experts_look = f.assignment().has_experts() &&
                            f.assignment().experts().choice() == v1::ExpertAssignment::SCORES;
  const bool learns_weight = f.local().has_mutual() && f.local().mutual().weight_epochs() > 0;
  if (!experts_look && !learns_weight) return;
  const auto none = std::ranges::find_if(
      clients_, [](const federation::Client& one) { return one.auxiliary_rows->empty(); });
  if (none == clients_.end()) return;
  problems.add(
      "task.partition.min_rows", fmt::format("{}", scenario().task().partition().min_rows()),
      fmt::format("leaves client {} a single training row and none to set aside, by "
                  "which {}: ask for more",
                  none - clients_.begin(),
                  experts_look ? "experts choose" : "it learns its private model's weight"));
}

void Experiment::make_workload(scenario::Problems& problems) {
  const v1::Scenario& s = scenario();
  ranks_ = federation::global_ranks(s.federation().assignment(), architecture_.layers,
                                    adapter_spec(s).rank);
  make_shares(problems);
  federation::WorkloadSpec spec;
  const bool other = s.timing().has_architecture();
  timed_name_ = other ? s.timing().architecture() : model_name();
  spec.timed = other ? cost::architecture_preset(s.timing().architecture()) : architecture_;
  spec.learning_layers = architecture_.layers;
  spec.adapter = adapter_spec(s);
  spec.head_outputs =
      scenario::has_responses(s.task()) ? 0 : static_cast<int64_t>(data_.train.classes.size());
  const v1::Local& local = s.federation().local();
  spec.batch_rows = s.timing().has_batch_size() ? s.timing().batch_size() : local.batch_size();
  spec.sequence_tokens =
      s.timing().has_sequence_tokens() ? s.timing().sequence_tokens() : s.task().max_tokens();
  spec.bytes_per_element = bytes_per_element(s.timing().precision());
  spec.optimizer_moments = optimizer_moments(local);
  spec.models = federation::models_of(local);
  try {
    workload_ = std::make_unique<federation::Workload>(spec);
  } catch (const InputError& error) {
    problems.add("timing", timed_name_, error.what());
    return;
  }
  if (learning::Share{ranks_}.depth() == 0 && !spec.trains_without_layers()) {
    problems.add("federation.assignment", "0",
                 "without a head and without a tuned layer there is nothing to train: tune at "
                 "least one layer");
  }
}

learning::Share Experiment::share_of(int64_t depth) const {
  std::vector<int64_t> ranks = ranks_;
  const int64_t rank = std::max<int64_t>(1, *std::max_element(ranks_.begin(), ranks_.end()));
  for (auto one = ranks.end() - depth; one != ranks.end(); ++one) *one = *one > 0 ? *one : rank;
  learning::Share share = client_share_;
  share.ranks = federation::last_of(ranks, depth);
  return share;
}

void Experiment::time_clients() {
  const learning::Share& whole = client_share_;
  const learning::TrainSettings settings =
      federation::train_settings(scenario().federation().local());
  const auto bytes = static_cast<double>(workload_->bytes(whole));
  for (size_t i = 0; i < clients_.size(); ++i) {
    federation::Client& client = clients_[i];
    const cost::Machine& machine = client.machines->front();
    client.full_depth_step_s = workload_->step_seconds(machine, whole);
    const platform::DeviceSpec& device = world_.platform.devices[i];
    const platform::Rates rates = device.bandwidth
                                      ? device.bandwidth->at(0)
                                      : platform::Rates{device.up_bytes_s, device.down_bytes_s, 0};
    const double up_s = bytes / (rates.up_bytes_s > 0 ? rates.up_bytes_s : device.wifi_bytes_s);
    const double down_s =
        bytes / (rates.down_bytes_s > 0 ? rates.down_bytes_s : device.wifi_bytes_s);
    const double train_s =
        workload_->training_seconds(machine, whole, settings, std::ssize(*client.train_rows));
    client.expected_round_s = train_s;
    // A platform file's links are SimGrid's alone.
    if (std::isfinite(up_s + down_s)) client.expected_round_s += up_s + down_s;
  }
}

// Seconds and bytes of the shares that clients may be given, for an assignment that plans with
// them.
void Experiment::add_costs(federation::AssignmentInputs& inputs) const {
  const v1::Federation& f = scenario().federation();
  const auto share = [this](int64_t depth) {
    return learning::Share{federation::last_of(ranks_, depth)};
  };
  inputs.training_s = [this, share](int32_t client, int64_t depth) {
    const federation::Client& who = clients_[static_cast<size_t>(client)];
    const learning::TrainSettings settings =
        federation::train_settings(scenario().federation().local());
    const cost::Machine& machine = who.machines->front();
    return workload_->training_seconds(machine, share(depth), settings,
                                       std::ssize(*who.train_rows));
  };
  const auto bytes = [this, f](const learning::Share& share) {
    return federation::copies_of(f.local()) *
           workload_->bytes(federation::travelling(f.local(), share));
  };
  const bool whole = f.assignment().joint().whole_download();
  inputs.bytes_up = [bytes, share](int64_t depth) { return bytes(share(depth)); };
  inputs.bytes_down = [this, bytes, share, whole](int64_t depth) {
    return bytes(whole ? learning::Share{ranks_} : share(depth));
  };
}

federation::Answers Experiment::make_answers(learning::Learner& learner) const {
  const v1::Scenario& s = scenario();
  const v1::Federation& f = s.federation();
  const auto count = static_cast<int32_t>(clients_.size());
  federation::AssignmentInputs inputs;
  inputs.layers = architecture_.layers;
  inputs.rank = adapter_spec(s).rank;
  inputs.most_layers = fit_.most_layers;
  inputs.seed = s.seed();
  inputs.learner = &learner;
  inputs.has_head = workload_->spec().trains_without_layers();
  inputs.targets = adapter_spec(s).targets;
  inputs.last_round = s.stop().rounds();
  federation::LocalInputs local{.seed = s.seed(),
                                .clients = count,
                                .participants = 0,
                                .initial = learner.initial(initial_share_, s.seed()),
                                .learner = &learner,
                                .rows = {},
                                .targets = inputs.targets,
                                .mean_by_rows = f.aggregation().mean().weight_by_rows()};
  for (const federation::Client& client : clients_) {
    inputs.full_depth_step_s.push_back(client.full_depth_step_s);
    local.rows.push_back(client.train_rows);
  }
  add_costs(inputs);
  auto assignment = federation::make_assignment(f.assignment(), std::move(inputs));
  for (int32_t client = 0; client < count; ++client) {
    local.participants += assignment->takes_part(client);
  }
  return {.selection = federation::make_selection(f.selection(), count, s.seed(), learner),
          .assignment = std::move(assignment),
          .local = federation::make_local(f.local(), std::move(local)),
          .aggregation = federation::make_aggregation(
              f.aggregation(), {.seed = s.seed(), .clients = count, .global_ranks = ranks_}),
          .server_optimizer = federation::ServerOptimizer(f.aggregation().server_optimizer())};
}

}  // namespace fedclock::experiment
