#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "sim/experiment/convert.h"
#include "sim/scenario/check.h"
#include "tools/fedclock/commands.h"

namespace fedclock::tools {

namespace {

constexpr double kMega = 1e6, kGiga = 1e9;
constexpr double kFastest = std::numeric_limits<double>::infinity();

// Bandwidths (byte/s) and latency between a device and the server, at the start of the run, for one
// transfer alone. All 0 where a SimGrid platform file knows them.
struct Way {
  double up_bytes_s = 0, down_bytes_s = 0, latency_s = 0;
};

Way way_of(const platform::PlatformSpec& platform, size_t client) {
  if (platform.file) return {};
  const platform::DeviceSpec& device = platform.devices[client];
  Way way{device.up_bytes_s, device.down_bytes_s, device.latency_s};
  if (device.bandwidth) {
    const platform::Rates rates = device.bandwidth->at(0);
    way = {rates.up_bytes_s, rates.down_bytes_s, device.latency_s};
  }
  if (device.gateway) {
    const platform::GatewaySpec& gateway = platform.gateways[*device.gateway];
    if (gateway.wifi) way.up_bytes_s = way.down_bytes_s = device.wifi_bytes_s;
    way.up_bytes_s = std::min(way.up_bytes_s, gateway.up_bytes_s);
    way.down_bytes_s = std::min(way.down_bytes_s, gateway.down_bytes_s);
    way.latency_s += gateway.latency_s;
  }
  way.up_bytes_s = std::min(way.up_bytes_s, platform.server.ingress_bytes_s.value_or(kFastest));
  way.down_bytes_s = std::min(way.down_bytes_s, platform.server.egress_bytes_s.value_or(kFastest));
  return way;
}

// Devices of one group, all alike but for their rows; of what is drawn for each, the first one's.
struct Group {
  v1::DeviceGroup from;
  int32_t client = 0;  // the first
  cost::Machine machine;
  Way way;
  std::vector<int64_t> rows;  // of each device
  double steps = 0;           // of a round, mean over the devices
};

double steps_of_round(const experiment::Experiment& experiment, int64_t rows) {
  const v1::Local& local = experiment.scenario().federation().local();
  return static_cast<double>(federation::train_settings(local).steps_for(rows));
}

// Who trains: the devices, or the server on all rows.
std::vector<Group> groups(const experiment::Experiment& experiment) {
  const v1::Scenario& s = experiment.scenario();
  std::vector<Group> all;
  if (s.federation().schedule().has_centralized()) {
    int64_t rows = 0;
    for (const federation::Client& client : experiment.clients()) rows += client.train_rows->size();
    Group& server = all.emplace_back();
    *server.from.mutable_device() = s.platform().server().device();
    server.from.set_count(1);
    server.machine = experiment::machine(server.from.device(), "", s.timing().precision());
    server.rows = {rows};
    server.steps = steps_of_round(experiment, rows);
    return all;
  }
  size_t client = 0;
  for (const v1::DeviceGroup& from : s.platform().devices()) {
    Group group{from,
                static_cast<int32_t>(client),
                experiment.clients()[client].machines->front(),
                way_of(experiment.platform(), client),
                {},
                0};
    for (int i = 0; i < from.count(); ++i, ++client) {
      group.rows.push_back(static_cast<int64_t>(experiment.clients()[client].train_rows->size()));
      group.steps += steps_of_round(experiment, group.rows.back());
    }
    group.steps /= from.count();
    all.push_back(group);
  }
  return all;
}

// Of one transfer alone (sim/kernel/simulation.h has the models).
double transfer_s(v1::NetworkModel model, int64_t bytes, double bytes_s, double latency_s) {
  if (model != v1::TCP) return latency_s + static_cast<double>(bytes) / bytes_s;
  if (latency_s > 0) bytes_s = std::min(bytes_s, 4'194'304 / (2 * latency_s));
  return 13.01 * latency_s + static_cast<double>(bytes) / (0.97 * bytes_s);
}

// The references send nothing.
bool sends(const v1::Schedule& schedule) {
  return !schedule.has_centralized() && !schedule.has_local_only();
}

bool downloads_whole(const v1::Assignment& answer) {
  return answer.has_capacity() ? answer.capacity().whole_download()
         : answer.has_joint()  ? answer.joint().whole_download()
                               : true;
}

federation::Part part_of(const experiment::Experiment& experiment,
                         const federation::Answers& answers, int32_t client,
                         const federation::Plan& plan) {
  return answers.local->part({1}, client, experiment.clients()[static_cast<size_t>(client)], plan);
}

// A device's part in a first round at some depth, at the ranks of its own assignment.
struct FirstPart {
  learning::Share trained;
  int64_t download_bytes = 0, upload_bytes = 0;
  double embedding_s = 0;  // of its auxiliary rows' mean embeddings, where experts choose by them
};

FirstPart first_part(const experiment::Experiment& experiment, federation::Answers& answers,
                     const Group& group, int64_t depth) {
  const v1::Federation& f = experiment.scenario().federation();
  const learning::Share whole = experiment.whole_share();
  federation::Plan plan{experiment.share_of(depth).ranks, whole.ranks, whole.experts};
  if (f.assignment().has_capacity()) {
    const int64_t most = answers.assignment->plan({1}, group.client).rank();
    for (auto* ranks : {&plan.tuned, &plan.held}) {
      for (int64_t& rank : *ranks) rank = std::min(rank, most);
    }
  }
  if (!downloads_whole(f.assignment())) plan.held = plan.tuned;
  learning::widen(plan.held, plan.tuned);
  const federation::Part part = part_of(experiment, answers, group.client, plan);
  FirstPart first{part.job.trained};
  if (!sends(f.schedule())) return first;
  const federation::Workload& workload = experiment.workload();
  first.download_bytes =
      part.copies * answers.aggregation->begin_download(workload, group.client, part.down);
  first.upload_bytes = part.copies * workload.bytes(part.up);
  if (answers.assignment->embeddings({1}, group.client)) {
    const federation::Client& who = experiment.clients()[static_cast<size_t>(group.client)];
    first.upload_bytes += workload.embedding_bytes(part.job.trained);
    first.embedding_s =
        workload.inference_flops(group.machine, part.held, std::ssize(*who.auxiliary_rows)) /
        federation::effective_flops(group.machine);
  }
  return first;
}

// Of a device alone: download, steps, embeddings, upload, without contention or waiting.
double round_s(const experiment::Experiment& experiment, const Group& group,
               const FirstPart& part) {
  const v1::Scenario& s = experiment.scenario();
  const learning::TrainSettings settings = federation::train_settings(s.federation().local());
  double seconds = 0;  // of training, mean over the devices
  for (const int64_t rows : group.rows) {
    seconds += experiment.workload().training_seconds(group.machine, part.trained, settings, rows);
  }
  seconds /= static_cast<double>(group.rows.size());
  seconds += part.embedding_s;
  if (!sends(s.federation().schedule())) return seconds;
  const v1::NetworkModel model = s.platform().network_model();
  const Way& way = group.way;
  if (way.up_bytes_s == 0) return seconds;  // the transfers are a platform file's to say
  seconds += transfer_s(model, part.download_bytes, way.down_bytes_s, way.latency_s);
  return seconds + transfer_s(model, part.upload_bytes, way.up_bytes_s, way.latency_s);
}

// A line for each depth, also those that the scenario does not use.
void print_group(const experiment::Experiment& experiment, federation::Answers& answers,
                 const Group& group, size_t width) {
  const federation::Workload& workload = experiment.workload();
  const federation::WorkloadSpec& spec = workload.spec();
  const v1::DeviceGroup& from = group.from;
  const std::string mode = from.device().modes(scenario::modes_used(from).front()).name();
  // Without a head there is nothing to train at depth 0, and a soft prompt is of no layer.
  const int64_t first = spec.trains_without_layers() ? 0 : 1;
  const int64_t last = spec.adapter.prompt.tokens > 0 ? 0 : spec.learning_layers;
  for (int64_t depth = first; depth <= last; ++depth) {
    const double memory_bytes =
        cost::taken_bytes(group.machine, workload.memory(experiment.share_of(depth)).total());
    const FirstPart part = first_part(experiment, answers, group, depth);
    fmt::print(
        "{:<{}} {:<8} {:>5} {:>5} {:>5} {:>10.4f} {:>9.3f} {:>9.3f} {:>10.3f} {:>11.3f} "
        "{:>6.4g} {:>10.3f}  {}\n",
        from.device().name(), width, mode, from.count(), depth,
        depth * (spec.timed.layers / spec.learning_layers),
        workload.step_seconds(group.machine, part.trained), memory_bytes / kGiga,
        group.machine.memory_bytes / kGiga, static_cast<double>(part.upload_bytes) / kMega,
        static_cast<double>(part.download_bytes) / kMega, group.steps,
        round_s(experiment, group, part),
        memory_bytes > group.machine.memory_bytes ? "OOM" : "yes");
  }
}

void print_server(const experiment::Experiment& experiment, federation::Answers& answers) {
  const v1::Scenario& s = experiment.scenario();
  if (!s.platform().has_server() || !sends(s.federation().schedule())) return;
  const cost::Machine server =
      experiment::machine(s.platform().server().device(), "", s.timing().precision());
  const auto clients = static_cast<int32_t>(experiment.clients().size());
  const int32_t chosen = answers.selection->usual(clients);
  // Where the plan depends on what is learnt, everything.
  const v1::Assignment& answer = s.federation().assignment();
  const bool planned =
      answer.has_uniform() || answer.has_capacity() || answer.has_experts() || answer.has_prompt();
  const learning::Share whole = experiment.whole_share();
  std::vector<federation::Update> updates;  // of the first clients
  for (int32_t client = 0; client < chosen; ++client) {
    const federation::Plan plan = planned
                                      ? answers.assignment->plan({1}, client)
                                      : federation::Plan{whole.ranks, whole.ranks, whole.experts};
    updates.push_back({client, 1, {}, part_of(experiment, answers, client, plan).up});
  }
  const federation::Workload& workload = experiment.workload();
  cost::Work work = answers.aggregation->work(workload, updates);
  work += answers.local->merge_work(workload, updates);
  const double merge_flops = workload.flops_of(server, work);
  const double choice_flops = answers.assignment->choice_flops(1, workload.modules());
  const double rate = federation::effective_flops(server);
  fmt::print("server {}: merges the updates of a round's {} clients in {:.3g} s",
             s.platform().server().device().name(), chosen, merge_flops / rate);
  if (choice_flops > 0) {
    fmt::print(", and chooses the next round's experts in {:.3g} s", choice_flops / rate);
  }
  fmt::print("\n");
}

// Where they are not as the first one, of which the table is.
void print_later_rounds(const v1::Federation& f) {
  if (!sends(f.schedule())) return;
  const auto first_round = [](const std::string& text) { fmt::print("a first round: {}\n", text); };
  if (f.local().has_alternating()) {
    first_round("all down, B up; who took part in the round before sends and gets one factor");
  }
  if (f.local().has_clustered_experts()) {
    first_round(fmt::format(
        "a warm-up with one adapter, of which the next ones download nothing; later ones download "
        "up to {} experts and a router, train one of them, and send it with the router; memory is "
        "theirs",
        f.local().clustered_experts().max_experts()));
  }
  if (f.local().has_mutual()) {
    first_round(
        fmt::format("later ones pass the auxiliary rows {} times through both models besides",
                    f.local().mutual().weight_epochs()));
  }
  if (f.aggregation().has_stacked()) {
    first_round(
        "later ones download all clients' adapters of the rounds since the last part, or the "
        "matrices that they add up to");
  }
}

void print_costs(const ScenarioOptions& options) {
  experiment::Options how = experiment_options(options);
  how.allow_out_of_memory = true;
  const experiment::Experiment experiment(load(options), how);
  const federation::WorkloadSpec& spec = experiment.workload().spec();
  const std::vector<Group> all = groups(experiment);
  const int64_t prompt = spec.adapter.prompt.tokens;
  fmt::print("timed: {} ({} layers, {} tokens, {} rows a step, {})\n", experiment.timed_name(),
             spec.timed.layers, spec.sequence_tokens, spec.batch_rows,
             prompt > 0 ? fmt::format("a prompt of {} tokens more", prompt)
                        : fmt::format("rank {}", spec.adapter.rank));
  fmt::print(
      "depth: tuned layers of the learning model's {}; timed: of the {} that the clock "
      "takes\n",
      spec.learning_layers, spec.timed.layers);
  fmt::print("round_s: download, steps and upload of one device alone, nobody waited for{}\n",
             experiment.platform().file ? "; without the platform file's transfers" : "");
  print_later_rounds(experiment.scenario().federation());
  size_t width = 6;
  for (const Group& group : all) width = std::max(width, group.from.device().name().size());
  fmt::print("{:<{}} {:<8} {:>5} {:>5} {:>5} {:>10} {:>9} {:>9} {:>10} {:>11} {:>6} {:>10}  {}\n",
             "device", width, "mode", "count", "depth", "timed", "step_s", "memory_GB", "device_GB",
             "upload_MB", "download_MB", "steps", "round_s", "fits");
  const auto no_learner = learning::make_timing_only_learner();
  federation::Answers answers = experiment.make_answers(*no_learner);
  for (const Group& group : all) print_group(experiment, answers, group, width);
  print_server(experiment, answers);
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
