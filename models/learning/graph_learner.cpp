#include "models/learning/graph_learner.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <numeric>
#include <utility>

#include "models/common/error.h"
#include "models/learning/evaluate.h"
#include "models/learning/graph.h"
#include "models/learning/merge.h"
#include "models/learning/train.h"
#include "models/nn/hugging_face.h"
#include "models/nn/peft.h"
#include "models/nn/safetensors.h"

namespace fedclock::learning {

// What a Value points to: one operation, or the parts of an evaluation.
struct Node {
  std::vector<Graph::Handle> parts;
};

namespace {

// Rows of one evaluation job: large enough for full batches, small enough to share the work.
constexpr int64_t kEvaluationChunkRows = 512;

// What the jobs of a run share, made when the first of them really runs.
class LazyTask {
 public:
  explicit LazyTask(LearnerSpec spec) : spec_(std::move(spec)) {}

  const LearningTask& get() {
    std::call_once(made_, [this] { make(); });
    return task_;
  }
  const LearnerSpec& spec() const { return spec_; }
  void note_buffers(int64_t bytes) {
    int64_t most = buffer_bytes_;
    while (bytes > most && !buffer_bytes_.compare_exchange_weak(most, bytes)) {
    }
  }
  int64_t buffer_bytes() const { return buffer_bytes_; }
  size_t row_count(RowSource source) const {
    return (source == RowSource::kTrain ? spec_.train : spec_.test).rows.size();
  }

 private:
  void make() {
    const Base base = spec_.base();
    spec_.base = {};  // its texts may be large
    task_.set_base(base.architecture, *base.weights, spec_.precision, spec_.device);
    task_.adapter = spec_.adapter;
    const int64_t types = base.architecture.token_types;
    task_.train = encode(spec_.train, *base.tokenizer, spec_.max_tokens, types);
    task_.test = encode(spec_.test, *base.tokenizer, spec_.max_tokens, types);
    // Where a vocabulary has no padding token (GPT-2), any token will do: it is masked out.
    task_.pad = std::max(0, base.tokenizer->pad());
    task_.evaluation_rows = spec_.evaluation_rows;
  }

  LearnerSpec spec_;
  LearningTask task_;
  std::once_flag made_;
  std::atomic<int64_t> buffer_bytes_ = 0;  // of one job, at most
};

bool has_responses(const data::Dataset& set) {
  return !set.rows.empty() && !set.rows.front().response.empty();
}

// Names of operations: what they do, in which version, with what. Raise a version when what the
// operation computes changes: old results are then found no more.
Digest task_name(const LearnerSpec& spec) {
  DigestBuilder name;
  name.add("task").add(1).add(spec.numerics).add(spec.base_name);
  name.add(content_digest(spec.train)).add(content_digest(spec.test)).add(spec.max_tokens);
  name.add(spec.adapter.rank).add(spec.adapter.alpha).add(spec.adapter.dropout);
  for (const nn::Target target : spec.adapter.targets) name.add(static_cast<int>(target));
  name.add(static_cast<int>(spec.precision)).add(static_cast<int>(spec.device));
  return name.finish();
}

Digest initial_name(const Digest& task, int64_t depth, uint64_t seed) {
  return DigestBuilder().add("initial").add(1).add(task).add(depth).add(seed).finish();
}

Digest train_name(const Digest& task, const Digest& start, const TrainJob& job) {
  DigestBuilder name;
  name.add("train").add(2).add(task).add(start).add(std::as_bytes(std::span(*job.rows)));
  const TrainSettings& s = job.settings;
  name.add(s.steps).add(s.epochs).add(s.batch_rows).add(static_cast<int>(s.optimizer));
  name.add(s.weight_decay).add(s.momentum).add(s.clip_norm);
  name.add(job.depth).add(job.learning_rate).add(job.seed).add(job.round).add(job.client);
  return name.finish();
}

Digest merge_name(const std::vector<Graph::Handle>& states, const std::vector<double>& weights) {
  DigestBuilder name;
  name.add("weighted mean").add(1);
  for (size_t i = 0; i < states.size(); ++i) name.add(Graph::name(states[i])).add(weights.at(i));
  return name.finish();
}

Digest evaluation_name(const Digest& task, const Digest& state, RowSource source,
                       std::span<const int32_t> rows, int64_t rows_a_pass) {
  DigestBuilder name;
  name.add("evaluate").add(2).add(task).add(state).add(static_cast<int>(source));
  return name.add(std::as_bytes(rows)).add(rows_a_pass).finish();
}

class GraphLearner : public Learner {
 public:
  explicit GraphLearner(LearnerSpec spec)
      : name_(task_name(spec)),
        task_(std::make_shared<LazyTask>(spec)),
        graph_({.workers = spec.workers, .store = spec.store}) {}

  bool has_numbers() const override { return true; }

  Value initial(int64_t depth, uint64_t seed) override {
    const auto compute = [task = task_, depth, seed](const auto&) {
      const LearningTask& t = task->get();
      const int64_t outputs = t.train.has_responses() ? 0 : t.train.classes;
      return Outcome{nn::random_adapter(t.base->architecture(), t.adapter, depth, outputs, seed),
                     {}};
    };
    return value(
        {add({JobKind::kInitial, initial_name(name_, depth, seed), "initial adapter", {}, compute},
             false)});
  }

  Value train(const Value& start, const TrainJob& job) override {
    const Graph::Handle& from = state_of(start);
    const auto compute = [task = task_, job](const std::vector<const nn::TensorMap*>& inputs) {
      TrainResult trained = learning::train(task->get(), *inputs.front(), job);
      task->note_buffers(trained.buffer_bytes);
      return Outcome{std::move(trained.tensors), {trained.mean_loss}};
    };
    return value({add({JobKind::kTraining,
                       train_name(name_, Graph::name(from), job),
                       fmt::format("round {}, client {}: local training", job.round, job.client),
                       {from},
                       compute},
                      true)});
  }

  Value merge(const std::vector<Value>& states, const std::vector<double>& weights) override {
    std::vector<Graph::Handle> inputs;
    for (const Value& state : states) inputs.push_back(state_of(state));
    ensure(!inputs.empty(), "a mean of no states");
    const Digest name = merge_name(inputs, weights);
    const auto compute = [weights](const std::vector<const nn::TensorMap*>& maps) {
      return Outcome{weighted_mean(maps, weights), {}};
    };
    return value(
        {add({JobKind::kAggregation, name, "aggregation with " + Graph::label(inputs.back()),
              std::move(inputs), compute},
             false)});
  }

  Value numbers_of(const Value& update) override {
    return value({Graph::without_tensors(state_of(update))});
  }

  Value evaluate(const Value& state, RowSource source, const Rows& rows) override {
    const Rows chosen = rows ? rows : all_rows(source);
    const auto count = static_cast<int64_t>(chosen->size());
    ensure(count > 0, "an evaluation on no rows");
    std::vector<Graph::Handle> parts;
    for (int64_t begin = 0; begin < count; begin += kEvaluationChunkRows) {
      const int64_t size = std::min(kEvaluationChunkRows, count - begin);
      parts.push_back(evaluate_chunk(state_of(state), source, chosen, begin, size));
    }
    return value(std::move(parts));
  }

  Metrics metrics(const Value& evaluation) override {
    double rows = 0, correct = 0, loss = 0;  // whole numbers are exact
    for (const Graph::Handle& part : evaluation->parts) {
      const std::vector<double> sums = graph_.numbers(part);
      rows += sums.at(0);
      correct += sums.at(1);
      loss += sums.at(2);
    }
    return {correct / rows, loss / rows, static_cast<int64_t>(rows)};
  }

  double training_loss(const Value& update) override {
    return graph_.numbers(state_of(update)).at(0);
  }

  Digest content_digest(const Value& state) override {
    const Graph::Handle& of = state_of(state);
    const Digest name = DigestBuilder().add("content").add(1).add(Graph::name(of)).finish();
    // A double holds 32 bits and to spare.
    const auto compute = [](const std::vector<const nn::TensorMap*>& inputs) {
      const Digest d = DigestBuilder().add(nn::safetensors_image(*inputs.front())).finish();
      return Outcome{{},
                     {static_cast<double>(d.high >> 32), static_cast<double>(d.high & 0xffffffff),
                      static_cast<double>(d.low >> 32), static_cast<double>(d.low & 0xffffffff)}};
    };
    const auto n =
        graph_.numbers(add({JobKind::kDigest, name, "content digest", {of}, compute}, true));
    const auto join = [](double high, double low) {
      return static_cast<uint64_t>(high) << 32 | static_cast<uint64_t>(low);
    };
    return {join(n.at(0), n.at(1)), join(n.at(2), n.at(3))};
  }

  void save(const Value& state, const std::filesystem::path& folder) override {
    const Graph::Tensors tensors = graph_.tensors(state_of(state));
    const LearnerSpec& spec = task_->spec();
    nn::write_peft_adapter(
        folder, spec.architecture, nn::model_type_of(spec.architecture), *tensors,
        {.rank = spec.adapter.rank,
         .alpha = spec.adapter.alpha,
         .dropout = spec.adapter.dropout,
         .base_name = spec.base_origin,
         .task = has_responses(spec.train) ? nn::PeftTask::kCausalLanguageModel
                                           : nn::PeftTask::kSequenceClassification});
  }

  JobCounts counts() const override { return graph_.counts(); }
  int64_t buffer_bytes() const override { return task_->buffer_bytes(); }

 private:
  static Value value(std::vector<Graph::Handle> parts) {
    return std::make_shared<Node>(Node{std::move(parts)});
  }
  static const Graph::Handle& state_of(const Value& value) {
    ensure(value->parts.size() == 1, "a state was expected, not an evaluation");
    return value->parts.front();
  }

  Graph::Handle add(Graph::Operation operation, bool wanted) {
    // The base is pretrained here, where its progress can be shown, and not on a worker.
    if (wanted && !graph_.is_known(operation.name)) task_->get();
    return graph_.add(std::move(operation), wanted);
  }

  Rows all_rows(RowSource source) {
    Rows& all = all_rows_[static_cast<size_t>(source)];
    if (!all) {
      std::vector<int32_t> rows(task_->row_count(source));
      std::iota(rows.begin(), rows.end(), 0);
      all = std::make_shared<const std::vector<int32_t>>(std::move(rows));
    }
    return all;
  }

  Graph::Handle evaluate_chunk(const Graph::Handle& state, RowSource source, const Rows& rows,
                               int64_t begin, int64_t size) {
    const auto chunk = std::span(*rows).subspan(begin, size);
    const auto compute = [task = task_, source, rows,
                          chunk](const std::vector<const nn::TensorMap*>& inputs) {
      const LearningTask& t = task->get();
      const EvaluationSums sums = learning::evaluate(
          t, *inputs.front(), source == RowSource::kTrain ? t.train : t.test, chunk);
      task->note_buffers(sums.buffer_bytes);
      return Outcome{
          {}, {static_cast<double>(sums.rows), static_cast<double>(sums.correct), sums.loss}};
    };
    const Digest name =
        evaluation_name(name_, Graph::name(state), source, chunk, task_->spec().evaluation_rows);
    return add(
        {JobKind::kEvaluation, name, "evaluation after " + Graph::label(state), {state}, compute},
        true);
  }

  Digest name_;  // of the task
  std::shared_ptr<LazyTask> task_;
  std::array<Rows, 2> all_rows_;  // of each source
  Graph graph_;
};

class TimingOnlyLearner : public Learner {
 public:
  bool has_numbers() const override { return false; }
  Value initial(int64_t, uint64_t) override { return {}; }
  Value train(const Value&, const TrainJob&) override { return {}; }
  Value merge(const std::vector<Value>&, const std::vector<double>&) override { return {}; }
  Value numbers_of(const Value&) override { return {}; }
  Value evaluate(const Value&, RowSource, const Rows&) override { return {}; }
  Metrics metrics(const Value&) override { throw no_numbers(); }
  double training_loss(const Value&) override { throw no_numbers(); }
  Digest content_digest(const Value&) override { throw no_numbers(); }
  void save(const Value&, const std::filesystem::path&) override { throw no_numbers(); }
  JobCounts counts() const override { return {}; }
  int64_t buffer_bytes() const override { return 0; }

 private:
  static ProgrammerError no_numbers() {
    return ProgrammerError("a number was asked for where learning is skipped");
  }
};

}  // namespace

JobCount JobCounts::total() const {
  JobCount total;
  for (const JobCount& count : by_kind) {
    total.known += count.known;
    total.shared += count.shared;
    total.computed += count.computed;
  }
  return total;
}

std::unique_ptr<Learner> make_graph_learner(LearnerSpec spec) {
  return std::make_unique<GraphLearner>(std::move(spec));
}

std::unique_ptr<Learner> make_timing_only_learner() {
  return std::make_unique<TimingOnlyLearner>();
}

}  // namespace fedclock::learning
