#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "models/common/error.h"
#include "models/data/synthetic.h"
#include "models/learning/learner.h"
#include "models/learning/pool_learner.h"
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
  spec.base = tiny_base(kind);
  // The tokeniser spells words that it does not know in letters: room for the beginning of a text.
  spec.base.architecture.max_tokens = 96;
  spec.base.weights = std::make_shared<const nn::TensorMap>(tiny_weights(spec.base.architecture));
  spec.adapter = tiny_adapter_spec();
  spec.adapter.dropout = 0.1;
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
  job.depth = 1 + client % 2;
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
  const auto learner = make_pool_learner(spec);
  CHECK(learner->has_numbers());
  std::vector<Value> updates, evaluations;
  Value global = learner->initial(2, 5);
  for (int64_t round = 0; round < 2; ++round) {
    std::vector<Value> clients;
    for (int32_t client = 0; client < 4; ++client) {
      clients.push_back(learner->train(global, job_of(round, client, rows_of(client))));
      updates.push_back(clients.back());
    }
    global = learner->merge(clients, {0.25, 0.25, 0.125, 0.375});
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
    outcome.numbers.push_back(learner->training_loss(update));
    outcome.states.push_back(learner->content_digest(update));
  }
  outcome.states.push_back(learner->content_digest(global));
  const Learner::Progress progress = learner->progress();
  CHECK(progress.finished == progress.submitted);
  CHECK(progress.submitted >= 1 + 8 + 2 + 3);
  return outcome;
}

TEST_CASE("pool learner: the same bits with 1, 2 and 4 workers") {
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

TEST_CASE("pool learner: merging one state gives it back; equal jobs give equal states") {
  const auto learner =
      make_pool_learner(spec_of(nn::Kind::kEncoder, data::SyntheticForm::kClassification, 2));
  const Value start = learner->initial(2, 5);
  CHECK(learner->content_digest(start) == learner->content_digest(learner->initial(2, 5)));
  CHECK(learner->content_digest(start) != learner->content_digest(learner->initial(2, 6)));
  CHECK(learner->content_digest(start) != learner->content_digest(learner->initial(1, 5)));
  const Value a = learner->train(start, job_of(0, 1, rows_of(1)));
  const Value b = learner->train(start, job_of(0, 1, rows_of(1)));
  CHECK(learner->content_digest(a) == learner->content_digest(b));
  CHECK(learner->content_digest(a) != learner->content_digest(start));
  CHECK(learner->content_digest(learner->merge({a}, {1.0})) == learner->content_digest(a));
  CHECK(learner->content_digest(learner->merge({a, b}, {0.5, 0.5})) == learner->content_digest(a));
}

TEST_CASE("pool learner: an evaluation of many rows adds up its parts") {
  // 1100 rows are three jobs. All rows at once give the mean of the two halves.
  LearnerSpec spec = spec_of(nn::Kind::kEncoder, data::SyntheticForm::kClassification, 2);
  spec.max_tokens = 12;
  while (spec.test.rows.size() < 1100)
    spec.test.rows.push_back(spec.test.rows[spec.test.rows.size() % 30]);
  const auto learner = make_pool_learner(spec);
  const Value state = learner->initial(2, 5);
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

TEST_CASE("pool learner: a job's error names its client and round") {
  const auto learner =
      make_pool_learner(spec_of(nn::Kind::kEncoder, data::SyntheticForm::kClassification, 2));
  const Value bad = learner->train(learner->initial(2, 5), job_of(3, 9, {}));
  CHECK_THROWS_WITH(learner->training_loss(bad), Contains("round 3, client 9"));
  const Value evaluation = learner->evaluate(bad, RowSource::kTest, nullptr);
  CHECK_THROWS_WITH(learner->metrics(evaluation), Contains("round 3, client 9"));
}

TEST_CASE("pool learner: the end does not wait for what nobody asked for") {
  const auto learner =
      make_pool_learner(spec_of(nn::Kind::kEncoder, data::SyntheticForm::kClassification, 1));
  Value state = learner->initial(2, 5);
  for (int32_t i = 0; i < 400; ++i) state = learner->train(state, job_of(i, 0, rows_of(0)));
  CHECK(learner->progress().submitted == 401);
}  // minutes, if all were run

TEST_CASE("pool learner: saves a state as a PEFT adapter") {
  const LearnerSpec spec = spec_of(nn::Kind::kEncoder, data::SyntheticForm::kClassification, 1);
  const auto learner = make_pool_learner(spec);
  const Value state = learner->train(learner->initial(2, 5), job_of(0, 1, rows_of(1)));
  const nn::Folder folder;
  learner->save(state, folder / "adapter");
  const nn::PeftSettings settings = nn::read_peft_settings(folder / "adapter");
  CHECK(settings.rank == 2);
  CHECK(settings.alpha == 4);
  CHECK(settings.base_name == "test");
  const nn::TensorMap read = nn::read_peft_adapter(folder / "adapter", spec.base.architecture,
                                                   nn::model_type_of(spec.base.architecture));
  CHECK(read.size() == 2 * 2 * 2 + 2);  // layers x targets x (A, B) and the head
  CHECK(read.at("head.weight").sizes() == at::IntArrayRef({3, 16}));
  CHECK(read.at("layers.1.v.lora_b").abs().max().item<float>() > 0);
}

TEST_CASE("timing only: every value is empty, and a number is never asked for") {
  const auto learner = make_timing_only_learner();
  CHECK_FALSE(learner->has_numbers());
  const Value start = learner->initial(2, 5);
  CHECK(start == nullptr);
  const Value update = learner->train(start, job_of(0, 0, {}));
  CHECK(update == nullptr);
  CHECK(learner->merge({update, update}, {0.5, 0.5}) == nullptr);
  CHECK(learner->evaluate(start, RowSource::kTest, nullptr) == nullptr);
  CHECK_THROWS_AS(learner->metrics(start), ProgrammerError);
  CHECK_THROWS_AS(learner->training_loss(start), ProgrammerError);
  CHECK_THROWS_AS(learner->content_digest(start), ProgrammerError);
  CHECK_THROWS_AS(learner->save(start, "never"), ProgrammerError);
  CHECK(learner->progress().submitted == 0);
}

}  // namespace
}  // namespace fedclock::learning
