#include "models/learning/pool_learner.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/common/error.h"
#include "models/learning/pool.h"
#include "models/learning/train.h"
#include "models/nn/hugging_face.h"
#include "models/nn/peft.h"
#include "models/nn/safetensors.h"

namespace fedclock::learning {

namespace {

// Written by one job before it is done, read only after. Apart from the node, so that a job can own
// what it writes without owning itself.
struct Result {
  nn::TensorMap tensors;  // a state or an update
  double training_loss = 0;
  Metrics metrics;
};

}  // namespace

// What a Value points to.
struct Node {
  Pool::JobPtr job;
  std::shared_ptr<Result> result;
};

namespace {

// Rows of one evaluation job: large enough for full batches, small enough to share the work.
constexpr int64_t kEvaluationChunkRows = 512;

LearningTask make_task(const LearnerSpec& spec) {
  LearningTask task;
  task.base = std::make_shared<const nn::Transformer>(spec.base.architecture, *spec.base.weights);
  task.adapter = spec.adapter;
  task.train = encode(spec.train, *spec.base.tokenizer, spec.max_tokens);
  task.test = encode(spec.test, *spec.base.tokenizer, spec.max_tokens);
  // Where a vocabulary has no padding token (GPT-2), any token will do: it is masked out.
  task.pad = std::max(0, spec.base.tokenizer->pad());
  task.evaluation_rows = spec.evaluation_rows;
  return task;
}

class PoolLearner : public Learner {
 public:
  explicit PoolLearner(const LearnerSpec& spec)
      : task_(std::make_shared<const LearningTask>(make_task(spec))),
        base_name_(spec.base.origin),
        pool_(spec.workers) {}

  bool has_numbers() const override { return true; }

  Value initial(int64_t depth, uint64_t seed) override {
    auto result = std::make_shared<Result>();
    auto finished = pool_.submit("initial adapter", {}, [task = task_, result, depth, seed] {
      const int64_t outputs = task->train.has_responses() ? 0 : task->train.classes;
      result->tensors =
          nn::random_adapter(task->base->architecture(), task->adapter, depth, outputs, seed);
    });
    return std::make_shared<Node>(Node{std::move(finished), std::move(result)});
  }

  Value train(const Value& start, const TrainJob& job) override {
    auto result = std::make_shared<Result>();
    auto finished =
        pool_.submit(fmt::format("round {}, client {}: local training", job.round, job.client),
                     {start->job}, [task = task_, start, job, result] {
                       TrainResult trained = learning::train(*task, start->result->tensors, job);
                       result->tensors = std::move(trained.tensors);
                       result->training_loss = trained.mean_loss;
                     });
    return std::make_shared<Node>(Node{std::move(finished), std::move(result)});
  }

  Value merge(const std::vector<Value>& states, const std::vector<double>& weights) override {
    auto result = std::make_shared<Result>();
    auto finished = pool_.submit("aggregation", jobs_of(states), [states, weights, result] {
      std::vector<const nn::TensorMap*> maps;
      for (const Value& state : states) maps.push_back(&state->result->tensors);
      result->tensors = weighted_mean(maps, weights);
    });
    return std::make_shared<Node>(Node{std::move(finished), std::move(result)});
  }

  Value evaluate(const Value& state, RowSource source, const Rows& rows) override {
    const EncodedSet& set = source == RowSource::kTrain ? task_->train : task_->test;
    Rows chosen = rows;
    if (!chosen) {
      std::vector<int32_t> all(set.rows.size());
      for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
      chosen = std::make_shared<const std::vector<int32_t>>(std::move(all));
    }
    const auto count = static_cast<int64_t>(chosen->size());
    const int64_t chunks = (count + kEvaluationChunkRows - 1) / kEvaluationChunkRows;
    auto sums = std::make_shared<std::vector<EvaluationSums>>(chunks);
    std::vector<Pool::JobPtr> jobs;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t begin = chunk * kEvaluationChunkRows;
      const int64_t size = std::min(kEvaluationChunkRows, count - begin);
      jobs.push_back(pool_.submit("evaluation", {state->job},
                                  [task = task_, state, source, chosen, begin, size, chunk, sums] {
                                    const EncodedSet& from =
                                        source == RowSource::kTrain ? task->train : task->test;
                                    (*sums)[chunk] =
                                        learning::evaluate(*task, state->result->tensors, from,
                                                           std::span(*chosen).subspan(begin, size));
                                  }));
    }
    auto result = std::make_shared<Result>();
    auto finished = pool_.submit("evaluation", jobs, [sums, result] {
      EvaluationSums total;
      for (const EvaluationSums& part : *sums) {
        total.rows += part.rows;
        total.correct += part.correct;
        total.loss += part.loss;
      }
      ensure(total.rows > 0, "an evaluation on no rows");
      const auto n = static_cast<double>(total.rows);
      result->metrics = {static_cast<double>(total.correct) / n, total.loss / n, total.rows};
    });
    return std::make_shared<Node>(Node{std::move(finished), std::move(result)});
  }

  Metrics metrics(const Value& evaluation) override {
    pool_.wait(evaluation->job);
    return evaluation->result->metrics;
  }

  double training_loss(const Value& update) override {
    pool_.wait(update->job);
    return update->result->training_loss;
  }

  Digest content_digest(const Value& state) override {
    pool_.wait(state->job);
    return DigestBuilder().add(nn::safetensors_image(state->result->tensors)).finish();
  }

  void save(const Value& state, const std::filesystem::path& folder) override {
    pool_.wait(state->job);
    const nn::Architecture& architecture = task_->base->architecture();
    nn::write_peft_adapter(
        folder, architecture, nn::model_type_of(architecture), state->result->tensors,
        {.rank = task_->adapter.rank,
         .alpha = task_->adapter.alpha,
         .dropout = task_->adapter.dropout,
         .base_name = base_name_,
         .task = task_->train.has_responses() ? nn::PeftTask::kCausalLanguageModel
                                              : nn::PeftTask::kSequenceClassification});
  }

  Progress progress() const override { return {pool_.finished(), pool_.submitted()}; }

 private:
  static std::vector<Pool::JobPtr> jobs_of(const std::vector<Value>& values) {
    std::vector<Pool::JobPtr> jobs;
    for (const Value& value : values) jobs.push_back(value->job);
    return jobs;
  }

  std::shared_ptr<const LearningTask> task_;
  std::string base_name_;
  Pool pool_;
};

class TimingOnlyLearner : public Learner {
 public:
  bool has_numbers() const override { return false; }
  Value initial(int64_t, uint64_t) override { return {}; }
  Value train(const Value&, const TrainJob&) override { return {}; }
  Value merge(const std::vector<Value>&, const std::vector<double>&) override { return {}; }
  Value evaluate(const Value&, RowSource, const Rows&) override { return {}; }
  Metrics metrics(const Value&) override { throw no_numbers(); }
  double training_loss(const Value&) override { throw no_numbers(); }
  Digest content_digest(const Value&) override { throw no_numbers(); }
  void save(const Value&, const std::filesystem::path&) override { throw no_numbers(); }
  Progress progress() const override { return {}; }

 private:
  static ProgrammerError no_numbers() {
    return ProgrammerError("a number was asked for where learning is skipped");
  }
};

}  // namespace

std::unique_ptr<Learner> make_pool_learner(const LearnerSpec& spec) {
  return std::make_unique<PoolLearner>(spec);
}

std::unique_ptr<Learner> make_timing_only_learner() {
  return std::make_unique<TimingOnlyLearner>();
}

}  // namespace fedclock::learning
