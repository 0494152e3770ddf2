#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/common/error.h"
#include "models/data/synthetic.h"
#include "models/learning/graph_learner.h"
#include "models/learning/learner.h"
#include "models/nn/hugging_face.h"
#include "models/nn/peft.h"
#include "tests/models/learning/tiny.h"
#include "tests/models/nn/folder.h"

namespace fedclock::learning {
namespace {

using Catch::Matchers::Contains;

LearnerSpec spec_of(nn::Kind kind, data::SyntheticForm form, int workers) {
  data::SyntheticSpec synthetic;
  synthetic.form = form;
  synthetic.domains = 2;
  synthetic.classes = 3;
  synthetic.rows = 48;
  LearnerSpec spec;
  Base base = tiny_base(kind);
  // The tokeniser spells words that it does not know in letters: room for the beginning of a text.
  base.architecture.max_tokens = 96;
  base.weights = std::make_shared<const nn::TensorMap>(tiny_weights(base.architecture));
  spec.base_name = DigestBuilder().add(static_cast<int>(kind)).finish();
  spec.base_origin = base.origin;
  spec.architecture = base.architecture;
  spec.base = [base] { return base; };
  spec.adapter = tiny_adapter_spec();
  spec.train = data::synthetic_rows(synthetic, "train");
  synthetic.rows = 30;
  spec.test = data::synthetic_rows(synthetic, "test");
  spec.max_tokens = 64;
  spec.evaluation_rows = 8;
  spec.workers = workers;
  return spec;
}

TrainJob job_of(int64_t round, int64_t client, std::vector<int32_t> rows) {
  TrainJob job;
  job.rows = std::make_shared<const std::vector<int32_t>>(std::move(rows));
  job.settings = {.steps = 0, .epochs = 1, .batch_rows = 4};
  job.trained = last_layers(2, 1 + client % 2, 2);
  job.learning_rate = 0.01;
  job.seed = 17;
  job.round = round;
  job.client = client;
  return job;
}

// The rows client, client + 4, client + 8, ...
std::vector<int32_t> rows_of(int32_t client) {
  std::vector<int32_t> rows;
  for (int32_t row = client; row < 48; row += 4) rows.push_back(row);
  return rows;
}

struct Outcome {
  std::vector<Digest> states;  // of every client and round, and the last global one
  std::vector<double> numbers;
  bool operator==(const Outcome&) const = default;
};

// Two rounds of four clients, all submitted before anything is asked for.
Outcome federate(const LearnerSpec& spec) {
  const auto learner = make_graph_learner(spec);
  CHECK(learner->has_numbers());
  std::vector<Value> updates, evaluations;
  Value global = learner->initial(last_layers(2, 2, 2), 5);
  for (int64_t round = 0; round < 2; ++round) {
    std::vector<Value> clients;
    for (int32_t client = 0; client < 4; ++client) {
      clients.push_back(learner->train(global, job_of(round, client, rows_of(client))));
      updates.push_back(clients.back());
    }
    clients.insert(clients.begin(), global);
    global = learner->apply(mean_of_holders({0.25, 0.25, 0.125, 0.375}), clients, "test");
    evaluations.push_back(learner->evaluate(global, RowSource::kTest, nullptr));
  }
  evaluations.push_back(learner->evaluate(global, RowSource::kTrain, first_rows(5)));
  Outcome outcome;
  for (const Value& evaluation : evaluations) {
    const Metrics metrics = learner->metrics(evaluation);
    outcome.numbers.insert(outcome.numbers.end(), {metrics.accuracy, metrics.loss});
    CHECK(metrics.rows == (&evaluation == &evaluations.back() ? 5 : 30));
    CHECK(metrics.accuracy >= 0);
    CHECK(metrics.accuracy <= 1);
    CHECK(metrics.loss > 0);
  }
  for (const Value& update : updates) {
    outcome.numbers.push_back(learner->training_numbers(update).mean_loss);
    outcome.states.push_back(learner->content_digest(update));
  }
  outcome.states.push_back(learner->content_digest(global));
  const JobCounts counts = learner->counts();
  const int64_t known = counts.total().known;
  CHECK((known == 0 || counts.total().computed == 0));
  CHECK(known + counts.total().computed == 1 + 8 + 2 + 3 + 9);
  return outcome;
}

TEST_CASE("learner: the same bits with 1, 2 and 4 workers", "[native]") {
  const auto [kind, form] = GENERATE(table<nn::Kind, data::SyntheticForm>(
      {{nn::Kind::kEncoder, data::SyntheticForm::kClassification},
       {nn::Kind::kDecoder, data::SyntheticForm::kClassification},
       {nn::Kind::kDecoder, data::SyntheticForm::kInstruction}}));
  const Outcome one = federate(spec_of(kind, form, 1));
  CHECK(one == federate(spec_of(kind, form, 2)));
  CHECK(one == federate(spec_of(kind, form, 4)));
  // All states are different ones.
  std::vector<Digest> states = one.states;
  std::sort(states.begin(), states.end());
  CHECK(std::unique(states.begin(), states.end()) == states.end());
}

TEST_CASE("learner: merging one state gives it back; equal jobs give equal states") {
  const auto learner =
      make_graph_learner(spec_of(nn::Kind::kEncoder, data::SyntheticForm::kClassification, 2));
  const Value start = learner->initial(last_layers(2, 2, 2), 5);
  CHECK(learner->content_digest(start) ==
        learner->content_digest(learner->initial(last_layers(2, 2, 2), 5)));
  CHECK(learner->content_digest(start) !=
        learner->content_digest(learner->initial(last_layers(2, 2, 2), 6)));
  CHECK(learner->content_digest(start) !=
        learner->content_digest(learner->initial(last_layers(2, 1, 2), 5)));
  const Value a = learner->train(start, job_of(0, 1, rows_of(1)));
  const Value b = learner->train(start, job_of(0, 1, rows_of(1)));
  CHECK(learner->content_digest(a) == learner->content_digest(b));
  CHECK(learner->content_digest(a) != learner->content_digest(start));
  CHECK(learner->content_digest(learner->apply(mean_of_holders({1.0}), {start, a}, "test")) ==
        learner->content_digest(a));
  CHECK(learner->content_digest(learner->apply(mean_of_holders({1, 1}), {start, a, b}, "test")) ==
        learner->content_digest(a));
}

TEST_CASE("learner: an evaluation of many rows adds up its parts") {
  // 1100 rows are three jobs. All rows at once give the mean of the two halves.
  LearnerSpec spec = spec_of(nn::Kind::kEncoder, data::SyntheticForm::kClassification, 2);
  spec.max_tokens = 12;
  while (spec.test.rows.size() < 1100)
    spec.test.rows.push_back(spec.test.rows[spec.test.rows.size() % 30]);
  const auto learner = make_graph_learner(spec);
  const Value state = learner->initial(last_layers(2, 2, 2), 5);
  std::vector<int32_t> upper(550);
  std::iota(upper.begin(), upper.end(), 550);
  const Metrics all = learner->metrics(learner->evaluate(state, RowSource::kTest, nullptr));
  const Metrics first =
      learner->metrics(learner->evaluate(state, RowSource::kTest, first_rows(550)));
  const Metrics second = learner->metrics(learner->evaluate(
      state, RowSource::kTest, std::make_shared<const std::vector<int32_t>>(upper)));
  CHECK(all.rows == 1100);
  CHECK(all.accuracy == Approx((first.accuracy + second.accuracy) / 2).epsilon(1e-9));
  CHECK(all.loss == Approx((first.loss + second.loss) / 2).epsilon(1e-6));
}

TEST_CASE("learner: a job's error names its client and round") {
  const auto learner =
      make_graph_learner(spec_of(nn::Kind::kEncoder, data::SyntheticForm::kClassification, 2));
  const Value bad = learner->train(learner->initial(last_layers(2, 2, 2), 5), job_of(3, 9, {}));
  CHECK_THROWS_WITH(learner->training_numbers(bad), Contains("round 3, client 9"));
  const Value evaluation = learner->evaluate(bad, RowSource::kTest, nullptr);
  CHECK_THROWS_WITH(learner->metrics(evaluation), Contains("round 3, client 9"));
}

TEST_CASE("learner: with a store nothing is computed twice, and the base is not loaded") {
  const nn::Folder folder;
  LearnerSpec spec = spec_of(nn::Kind::kEncoder, data::SyntheticForm::kClassification, 2);
  const Outcome without = federate(spec);
  spec.store = Store::open(folder / "store.sqlite", {});
  CHECK(federate(spec) == without);
  spec.base = []() -> Base { throw InputError("nobody needs the base"); };
  CHECK(federate(spec) == without);
}

TEST_CASE("learner: whatever a result depends on is part of its name") {
  const nn::Folder folder;
  const LearnerSpec plain = [&] {
    LearnerSpec spec = spec_of(nn::Kind::kEncoder, data::SyntheticForm::kClassification, 1);
    spec.store = Store::open(folder / "store.sqlite", {});
    return spec;
  }();
  const auto computed = [](const LearnerSpec& spec, const TrainJob& job) {
    const auto learner = make_graph_learner(spec);
    const Value update = learner->train(learner->initial(last_layers(2, 2, 2), 5), job);
    learner->training_numbers(update);
    learner->metrics(learner->evaluate(update, RowSource::kTest, first_rows(8)));
    return learner->counts().total().computed;
  };
  const TrainJob job = job_of(0, 1, rows_of(1));
  CHECK(computed(plain, job) == 3);
  CHECK(computed(plain, job) == 0);
  std::vector<LearnerSpec> specs(10, plain);
  specs[0].numerics = "other kernels";
  specs[1].base_name = DigestBuilder().add("another base").finish();
  specs[2].adapter.alpha += 1;
  specs[3].adapter.dropout += 0.1;
  specs[4].max_tokens -= 1;
  specs[5].train.rows[40].text += " more";
  specs[6].test.rows[20].label = 1 - std::min(1, specs[6].test.rows[20].label);
  specs[7].adapter.targets = {nn::Target::kO};
  specs[8].adapter.rank += 1;
  specs[9].evaluation_rows = 4;  // a pass
  for (size_t i = 0; i < specs.size(); ++i) {
    INFO("specification " << i);
    CHECK(computed(specs[i], job) == 3);
  }
  std::vector<TrainJob> jobs(11, job);
  jobs[0].rows = first_rows(7);
  jobs[1].settings.epochs = 2;
  jobs[2].settings = {.steps = 3, .epochs = 0, .batch_rows = 4};
  jobs[3].settings.batch_rows = 3;
  jobs[4].settings.optimizer = OptimizerKind::kSgd;
  jobs[5].settings.weight_decay = 0.1;
  jobs[6].settings.clip_norm = 0.1;
  jobs[7].trained = last_layers(2, 1, 2);
  jobs[8].learning_rate = 0.02;
  jobs[9].seed = 18;
  jobs[10].round = 1;
  if (job.trained.depth() == 1) jobs[7].trained = last_layers(2, 2, 2);
  for (size_t i = 0; i < jobs.size(); ++i) {
    INFO("job " << i);
    CHECK(computed(plain, jobs[i]) == 2);  // the initial adapter is known
  }
  const auto named = [&](const char* what, const std::function<void(TrainJob&)>& change) {
    INFO(what);
    TrainJob changed = job;
    change(changed);
    CHECK(computed(plain, changed) == 2);
  };
  named("part", [](TrainJob& j) { j.part = 1; });
  named("client", [](TrainJob& j) { j.client = 2; });
  named("proximal_mu", [](TrainJob& j) { j.proximal_mu = 0.1; });
  named("tail_lambda", [](TrainJob& j) { j.tail_lambda = 0.1; });
  named("tail_keep", [](TrainJob& j) { j.tail_keep = 1; });
  named("a", [](TrainJob& j) { j.trained.a = false; });
  named("b", [](TrainJob& j) { j.trained.b = false; });
  named("head", [](TrainJob& j) { j.trained.head = false; });
  TrainJob momentum = jobs[4];
  momentum.settings.momentum = 0.5;
  CHECK(computed(plain, momentum) == 2);
  // Control variates: which, and in which order.
  const auto corrected = [&](uint64_t c_seed, uint64_t own_seed) {
    const auto learner = make_graph_learner(plain);
    const Share share = last_layers(2, 2, 2);
    TrainJob with = job;
    with.has_controls = true;
    const Value start = learner->initial(share, 5);
    const std::vector<Value> controls = {learner->initial(share, c_seed),
                                         learner->initial(share, own_seed)};
    learner->training_numbers(learner->train(start, with, controls));
    return learner->counts().of(JobKind::kTraining).computed;
  };
  CHECK(corrected(6, 7) == 1);
  CHECK(corrected(6, 7) == 0);
  CHECK(corrected(7, 6) == 1);
  CHECK(corrected(6, 6) == 1);
  CHECK(corrected(8, 6) == 1);
  CHECK(corrected(6, 8) == 1);
}

TEST_CASE("learner: saves a state as a PEFT adapter") {
  const LearnerSpec spec = spec_of(nn::Kind::kEncoder, data::SyntheticForm::kClassification, 1);
  const auto learner = make_graph_learner(spec);
  const Value state =
      learner->train(learner->initial(last_layers(2, 2, 2), 5), job_of(0, 1, rows_of(1)));
  const nn::Folder folder;
  learner->save(state, folder / "adapter");
  const nn::PeftSettings settings = nn::read_peft_settings(folder / "adapter");
  CHECK(settings.rank == 2);
  CHECK(settings.alpha == 4);
  CHECK(settings.base_name == "test");
  const nn::TensorMap read = nn::read_peft_adapter(folder / "adapter", spec.architecture,
                                                   nn::model_type_of(spec.architecture));
  CHECK(read.size() == 2 * 2 * 2 + 2);  // layers x targets x (A, B) and the head
  CHECK(read.at("head.weight").sizes() == at::IntArrayRef({3, 16}));
  CHECK(read.at("layers.1.v.lora_b").abs().max().item<float>() > 0);
}

TEST_CASE("timing only: every value is empty, and a number is never asked for") {
  const auto learner = make_timing_only_learner();
  CHECK_FALSE(learner->has_numbers());
  const Value start = learner->initial(last_layers(2, 2, 2), 5);
  CHECK(start == nullptr);
  const Value update = learner->train(start, job_of(0, 0, {}));
  CHECK(update == nullptr);
  CHECK(learner->apply(mean_of_holders({1, 1}), {start, update, update}, "test") == nullptr);
  CHECK(learner->evaluate(start, RowSource::kTest, nullptr) == nullptr);
  CHECK_THROWS_AS(learner->metrics(start), ProgrammerError);
  CHECK_THROWS_AS(learner->training_numbers(start), ProgrammerError);
  CHECK_THROWS_AS(learner->content_digest(start), ProgrammerError);
  CHECK_THROWS_AS(learner->save(start, "never"), ProgrammerError);
  CHECK(learner->counts().total().computed == 0);
}

}  // namespace
}  // namespace fedclock::learning
