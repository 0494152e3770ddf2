#include "sim/experiment/experiment.h"

#include <fmt/format.h>

#include "models/common/error.h"
#include "models/cost/presets.h"
#include "models/learning/graph_learner.h"
#include "models/nn/hugging_face.h"
#include "sim/experiment/convert.h"
#include "sim/federation/schedule/schedule.h"
#include "sim/scenario/check.h"

namespace fedclock::experiment {

namespace {

namespace fs = std::filesystem;
using scenario::Problems;

Digest data_digest(const data::TrainAndTest& data) {
  return DigestBuilder()
      .add(data::content_digest(data.train))
      .add(data::content_digest(data.test))
      .finish();
}

}  // namespace

Experiment::Experiment(const scenario::Loaded& loaded, const Options& options)
    : loaded_(loaded), options_(options) {
  Problems problems(loaded_.locations);
  if (options.timing_only && scenario().stop().has_accuracy()) {
    problems.add("stop.accuracy", fmt::format("{}", scenario().stop().accuracy()),
                 "a stop at an accuracy needs the learning that --timing-only skips: drop one of "
                 "the two");
  }
  if (options.timing_only) {
    for (const std::string& field : scenario::needs_numbers(scenario())) {
      problems.add(field, "",
                   "decides by numbers of the learning that --timing-only skips: drop "
                   "one of the two");
    }
  }
  read_data(problems);
  read_architecture(problems);
  problems.throw_if_any();
  deal_rows(problems);
  world_ = make_world(
      scenario(),
      [this](const std::string& folder, const std::string& file, const std::string& field) {
        return data_path(folder, file, field);
      },
      problems);
  problems.throw_if_any();
  make_clients();
  make_workload(problems);
  problems.throw_if_any();
  time_clients();
  if (!options.allow_out_of_memory) {
    fit_ = fit_memory(scenario(), world_, *workload_, client_share_, timed_name_, problems);
  }
  problems.throw_if_any();
}

fs::path Experiment::data_path(const std::string& folder, const std::string& file,
                               const std::string& field) const {
  const fs::path base = !options_.data_folder.empty() ? options_.data_folder
                        : !folder.empty()             ? loaded_.folder / folder
                                                      : options_.default_data_folder;
  if (base.empty()) {
    throw InputError(fmt::format(
        "{}: there is no data folder: give the folder that holds {} with --data DIR, in the "
        "environment variable FEDCLOCK_DATA, or in the scenario",
        field, file));
  }
  return base / file;
}

data::InstructionSpec Experiment::instruction_spec(const v1::FileTask& files) const {
  const v1::Instruction& from = files.instruction();
  data::InstructionSpec spec{.prompt = from.prompt(),
                             .short_prompt = from.short_prompt(),
                             .response_field = from.response_field(),
                             .join_field = from.join().field()};
  if (from.has_join()) {
    spec.join_file =
        data_path(files.folder(), from.join().file(), "task.files.instruction.join.file");
  }
  return spec;
}

void Experiment::read_data(Problems& problems) {
  const v1::Task& task = scenario().task();
  if (task.has_synthetic()) {
    data::SyntheticSpec spec = synthetic_spec(task.synthetic());
    spec.rows = task.synthetic().train_rows();
    data_.train = data::synthetic_rows(spec, "train");
    spec.rows = task.synthetic().test_rows();
    data_.test = data::synthetic_rows(spec, "test");
    return;
  }
  const v1::FileTask& files = task.files();
  try {
    data::TableSpec spec;
    spec.file = data_path(files.folder(), files.train(), "task.files.train");
    spec.text_field = files.text_field();
    spec.pair_field = files.pair_field();
    spec.label_field = files.label_field();
    spec.domain_field = files.domain_field();
    spec.domains.insert(files.domains().begin(), files.domains().end());
    spec.classes.assign(files.classes().begin(), files.classes().end());
    if (files.has_instruction()) spec.instruction = instruction_spec(files);
    data_ =
        data::read_train_and_test(spec, data_path(files.folder(), files.test(), "task.files.test"));
    if (files.validation_rows() > 0) {
      data_.test = data::hold_out(data_.train, files.validation_rows(), files.seed());
    }
    data::sample_rows(data_.train, files.max_train_rows(), files.seed());
    data::sample_rows(data_.test, files.max_test_rows(), files.seed() + 1);
    require_training_rows(problems);
  } catch (const InputError& error) {
    problems.add("task.files", "", error.what());
  }
}

// Readers see to it for all rows; a draw of few may leave a class without any.
void Experiment::require_training_rows(Problems& problems) const {
  if (data_.train.open_responses) return;  // labels are not learnt
  std::vector<bool> learnt(data_.train.classes.size(), false);
  for (const data::Row& row : data_.train.rows) {
    if (row.label >= 0) learnt[row.label] = true;
  }
  for (const data::Row& row : data_.test.rows) {
    if (row.label < 0 || learnt[row.label]) continue;
    const v1::FileTask& files = scenario().task().files();
    const bool few = files.max_train_rows() > 0;
    problems.add(few ? "task.files.max_train_rows" : "task.files.validation_rows",
                 fmt::format("{}", few ? files.max_train_rows() : files.validation_rows()),
                 fmt::format("{} no training row of class \"{}\", which is tested: take {}",
                             few ? "draws" : "leaves", data_.train.classes[row.label],
                             few ? "more" : "fewer"));
    return;
  }
}

void Experiment::read_architecture(Problems& problems) {
  const v1::Model& model = scenario().model();
  if (model.has_pretrain()) {
    architecture_ = architecture(model.pretrain());
    check_corpus(problems);
    return;
  }
  try {
    architecture_ = nn::read_config(fs::path(model.folder()) / "config.json");
    if (architecture_.kind == nn::Kind::kEncoder && scenario::has_responses(scenario().task())) {
      const bool made = scenario().task().has_synthetic();
      problems.add(made ? "task.synthetic.form" : "task.files.instruction",
                   made ? "INSTRUCTION" : "",
                   fmt::format("the model is an encoder, which sees the answer before it gives "
                               "one: use a decoder, or {}",
                               made ? "CLASSIFICATION" : "leave `instruction` out"));
    }
    for (const std::string& missing : learning::missing_base_files(model.folder())) {
      problems.add("model.folder", model.folder(), missing);
    }
    if (adapter_spec(scenario()).rank > architecture_.width) {
      problems.add("model.adapter.rank", fmt::format("{}", adapter_spec(scenario()).rank),
                   fmt::format("must be at most {}, the model's width", architecture_.width));
    }
    const nn::Architecture& a = architecture_;
    scenario::check_assignment_against(scenario(), {a.layers, a.width, a.max_tokens}, problems);
    if (scenario().task().max_tokens() > a.max_tokens) {
      problems.add("task.max_tokens", fmt::format("{}", scenario().task().max_tokens()),
                   fmt::format("the model reads at most {} tokens", a.max_tokens));
    }
    for (const nn::Target target : adapter_spec(scenario()).targets) {
      if (nn::linear_shape(a, target)) continue;
      problems.add("model.adapter.targets", std::string(nn::target_name(target)),
                   "the model's layers have no such map");
    }
  } catch (const InputError& error) {
    problems.add("model.folder", model.folder(), error.what());
  }
}

void Experiment::check_corpus(Problems& problems) const {
  const v1::FileCorpus& corpus = scenario().model().pretrain().files();
  for (int i = 0; i < corpus.files_size(); ++i) {
    const std::string field = fmt::format("model.pretrain.files.files[{}]", i);
    try {
      const fs::path path = data_path(corpus.folder(), corpus.files(i), field);
      if (fs::is_regular_file(path)) continue;
      problems.add(
          field, corpus.files(i),
          fmt::format("there is no such file in {}: put it there, or choose another folder "
                      "with --data DIR or FEDCLOCK_DATA",
                      path.parent_path().string()));
    } catch (const InputError& error) {
      problems.add("model.pretrain.files", "", error.what());
      return;  // there is no folder for any of them
    }
  }
}

void Experiment::deal_rows(Problems& problems) {
  const auto clients = static_cast<int32_t>(scenario::client_count(scenario()));
  try {
    partition_ = data::partition(data_.train, clients, partition_spec(scenario()));
  } catch (const InputError& error) {
    problems.add("task.partition", "", error.what());
  }
}

void Experiment::make_clients() {
  const v1::Scenario& s = scenario();
  const size_t classes = data_.train.classes.size();
  int32_t client = 0;
  for (const v1::DeviceGroup& group : s.platform().devices()) {
    for (int i = 0; i < group.count(); ++i, ++client) {
      data::RowSplit split =
          data::split_rows(partition_[client], s.task().client_test_fraction(), s.seed(), client);
      data::RowSplit rest =
          data::split_rows(split.train, s.task().auxiliary_fraction(), s.seed(), client,
                           "client auxiliary rows", s.task().auxiliary_fraction() > 0 ? 1 : 0);
      split.train = std::move(rest.train);
      federation::Client one;
      one.device = group.device().name();
      one.machines = world_.machines[static_cast<size_t>(client)];
      one.class_rows.assign(classes, 0);
      for (const int32_t row : split.train) {
        const int label = data_.train.rows[row].label;
        if (label >= 0) ++one.class_rows[label];
      }
      one.train_rows = std::make_shared<const std::vector<int32_t>>(std::move(split.train));
      one.test_rows = std::make_shared<const std::vector<int32_t>>(std::move(split.test));
      one.auxiliary_rows = std::make_shared<const std::vector<int32_t>>(std::move(rest.test));
      clients_.push_back(std::move(one));
    }
  }
}

std::string Experiment::model_name() const {
  return fmt::format("{} of {} layers, width {}",
                     architecture_.kind == nn::Kind::kEncoder ? "encoder" : "decoder",
                     architecture_.layers, architecture_.width);
}

std::vector<std::string> Experiment::corpus() const {
  const v1::Pretraining& pretrain = scenario().model().pretrain();
  if (pretrain.has_synthetic()) {
    const v1::SyntheticCorpus& from = pretrain.synthetic();
    data::SyntheticSpec spec;
    spec.domains = from.domains();
    spec.classes = from.classes();
    spec.rows = from.rows();
    spec.seed = from.seed();
    return data::synthetic_corpus(spec);
  }
  const v1::FileCorpus& from = pretrain.files();
  std::vector<fs::path> files;
  for (const std::string& file : from.files()) {
    files.push_back(data_path(from.folder(), file, "model.pretrain.files"));
  }
  return data::read_corpus(files, {from.fields().begin(), from.fields().end()},
                           from.max_bytes_per_file());
}

std::unique_ptr<learning::Learner> Experiment::learner(const learning::BaseReport& report) {
  if (options_.timing_only) return learning::make_timing_only_learner();
  const BaseSource& base = base_source();
  learning::LearnerSpec spec;
  spec.base_name = base.name;
  spec.base_origin = base.origin;
  spec.base = [load = base.load, report] { return load(report); };
  spec.architecture = architecture_;
  spec.adapter = adapter_spec(scenario());
  spec.train = data_.train;
  spec.test = data_.test;
  spec.max_tokens = scenario().task().max_tokens();
  spec.max_response_tokens = max_response_tokens(scenario().task());
  spec.evaluation_rows = scenario().evaluation().batch_size();
  spec.numerics = options_.numerics;
  spec.precision = learning_precision(scenario());
  spec.device = options_.device;
  spec.workers = options_.workers;
  spec.store = options_.store;
  return learning::make_graph_learner(std::move(spec));
}

const Experiment::BaseSource& Experiment::base_source() {
  if (base_) return *base_;
  const v1::Model& model = scenario().model();
  if (!model.has_pretrain()) {
    const learning::Base base = learning::load_base_folder(model.folder());
    base_ = {base.digest, base.origin, [base](const learning::BaseReport&) { return base; }};
    return *base_;
  }
  learning::PretrainedBaseSpec recipe;
  recipe.architecture = architecture_;
  recipe.settings = pretrain_settings(model.pretrain());
  recipe.tokenizer = tokenizer_training(model.pretrain().tokenizer());
  recipe.numerics = options_.base_numerics;
  const auto texts = std::make_shared<const std::vector<std::string>>(corpus());
  const Digest name = learning::pretrained_base_name(recipe, *texts);
  base_ = {name, "pretrained " + name.hex(),
           [recipe, texts, cache = options_.cache_folder,
            workers = options_.workers](const learning::BaseReport& report) {
             return learning::pretrained_base(recipe, *texts, cache, workers, report);
           }};
  return *base_;
}

v1::Result Experiment::description() {
  const v1::Scenario& s = scenario();
  v1::Result result;
  result.set_version(options_.version);
  result.set_scenario(s.name());
  result.set_scenario_digest(scenario::scenario_digest(s).hex());
  result.set_data_digest(data_digest(data_).hex());
  if (world_.has_files) result.set_world_digest(world_.files.hex());
  if (!options_.timing_only) result.set_base_digest(base_source().name.hex());
  result.set_learned(!options_.timing_only);
  if (!options_.numerics.empty()) result.set_numerics(options_.numerics);
  result.set_learning_model(model_name());
  result.set_timed_model(timed_name_);
  *result.mutable_assumptions() = s.assumptions();
  const auto add_assumptions = [&](const v1::Device& device) {
    for (const std::string& text : device.assumptions()) result.add_assumptions(text);
  };
  for (const v1::DeviceGroup& group : s.platform().devices()) {
    add_assumptions(group.device());
    for (const std::string& text : group.network().assumptions()) result.add_assumptions(text);
    add_assumptions(group.network().gateway().device());
  }
  if (s.platform().has_server()) add_assumptions(s.platform().server().device());
  for (const std::string& note : fit_.notes) result.add_notes(note);
  if (data_.train.open_responses) result.set_metric("rouge_l");
  for (const std::string& name : data_.train.classes) result.add_classes(name);
  for (size_t i = 0; i < clients_.size(); ++i) {
    v1::ClientSummary& client = *result.add_clients();
    client.set_client(static_cast<int32_t>(i));
    client.set_device(clients_[i].device);
    client.set_train_rows(static_cast<int32_t>(clients_[i].train_rows->size()));
    client.set_test_rows(static_cast<int32_t>(clients_[i].test_rows->size()));
    for (const int32_t rows : clients_[i].class_rows) client.add_class_rows(rows);
  }
  return result;
}

// Of each device over the whole run, whether or not it took part.
void Experiment::add_off_times(platform::Platform& world, v1::Result& result) const {
  if (world.is_always_reachable()) return;
  for (v1::ClientSummary& client : *result.mutable_clients()) {
    const double off_s = world.off_seconds(static_cast<size_t>(client.client()), 0, result.end_s());
    if (off_s > 0) client.set_off_s(off_s);
  }
}

// What only SimGrid can say of a platform file is said here.
std::unique_ptr<platform::Platform> Experiment::make_platform(
    kernel::Simulation& simulation) const {
  try {
    return std::make_unique<platform::Platform>(simulation, world_.platform);
  } catch (const InputError& error) {
    Problems problems(loaded_.locations);
    problems.add(world_.platform.file ? "platform.simgrid" : "platform", "", error.what());
    problems.throw_if_any();
    throw;
  }
}

v1::Result Experiment::run(const Observer& observer, const fs::path& out) {
  const v1::Scenario& s = scenario();
  v1::Result result = description();
  kernel::Simulation simulation;
  const auto world_in = make_platform(simulation);
  platform::Platform& world = *world_in;
  // After the platform, which refuses what it cannot build, and before anything that takes long.
  const std::unique_ptr<learning::Learner> learner = this->learner(observer.base);
  results::Recorder recorder(*learner, observer.round);
  federation::Federation federation{.scenario = s,
                                    .clients = clients_,
                                    .server = world_.server.get(),
                                    .gateways = world_.gateways,
                                    .answers = make_answers(*learner),
                                    .workload = *workload_,
                                    .simulation = simulation,
                                    .platform = world,
                                    .learner = *learner,
                                    .recorder = recorder,
                                    .initial_share = initial_share_,
                                    .stop_reason = {},
                                    .last_states = {}};
  learning::Value final_state;
  const auto job = [&]() -> kernel::Task<void> {
    const learning::Value global = co_await federation::run_schedule(federation);
    final_state = federation.answers.local->left_behind(*learner, global);
  };
  simulation.run(job(), "the federation");
  federation.measure_last();
  recorder.add_to(result);
  result.set_end_s(simulation.now_s());
  add_off_times(world, result);
  result.set_stop_reason(federation.stop_reason);
  if (learner->has_numbers()) {
    result.set_adapter_digest(learner->content_digest(final_state).hex());
    if (!out.empty()) {
      // An earlier result vouches for the other files: who is killed from here on leaves none.
      std::error_code none;
      fs::remove(out / "result.pb", none);
      learner->save(final_state, out / "final_adapter");
    }
  }
  job_counts_ = learner->counts();
  buffer_bytes_ = learner->buffer_bytes();
  return result;
}

}  // namespace fedclock::experiment
