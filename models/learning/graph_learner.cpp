#include "models/learning/graph_learner.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <numeric>
#include <utility>

#include "models/common/error.h"
#include "models/learning/adapter_names.h"
#include "models/learning/evaluate.h"
#include "models/learning/graph.h"
#include "models/learning/merged_base.h"
#include "models/learning/train.h"
#include "models/nn/hugging_face.h"
#include "models/nn/peft.h"
#include "models/nn/safetensors.h"
#include "models/nn/soft_prompt.h"

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
    const auto encoded = [&](const data::Dataset& set) {
      return std::make_shared<const EncodedSet>(encode(set, *base.tokenizer, spec_.max_tokens,
                                                       types, spec_.max_response_tokens,
                                                       spec_.adapter.prompt.tokens));
    };
    task_.train = encoded(spec_.train);
    task_.test = encoded(spec_.test);
    task_.tokenizer = base.tokenizer;
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
  name.add(spec.evaluation_rows);  // a pass: it changes the last digits of a loss
  if (spec.train.open_responses) name.add(spec.max_response_tokens);
  const nn::PromptSpec& prompt = spec.adapter.prompt;
  if (prompt != nn::PromptSpec()) name.add("prompt").add(prompt.tokens).add(prompt.encoder);
  if (spec.adapter.top_experts != nn::AdapterSpec().top_experts) name.add(spec.adapter.top_experts);
  if (spec.adapter.router == nn::Router::kLinear) name.add("linear router");
  if (spec.adapter.router == nn::Router::kAdaptive) name.add("adaptive router");
  return name.finish();
}

Digest initial_name(const Digest& task, const Share& share, uint64_t seed) {
  DigestBuilder name;
  name.add("initial").add(2).add(task).add(seed);
  add_share(name, share);
  return name.finish();
}

Digest train_name(const Digest& task, const std::vector<Graph::Handle>& inputs,
                  const TrainJob& job) {
  DigestBuilder name;
  name.add("train").add(4).add(task).add(std::as_bytes(std::span(*job.rows)));
  for (const Graph::Handle& input : inputs) name.add(Graph::name(input));
  const TrainSettings& s = job.settings;
  name.add(s.steps).add(s.epochs).add(s.batch_rows).add(static_cast<int>(s.optimizer));
  name.add(s.weight_decay).add(s.momentum).add(s.clip_norm);
  add_share(name, job.trained);
  name.add(job.learning_rate).add(job.seed).add(job.round).add(job.part).add(job.client);
  name.add(job.proximal_mu).add(job.tail_lambda).add(job.tail_keep).add(job.has_controls);
  if (job.load_balance != 0) name.add(job.load_balance);
  if (job.ensemble) name.add("ensemble");
  return name.finish();
}

Digest function_name(const Digest& task, const StateFunction& function,
                     const std::vector<Graph::Handle>& inputs) {
  DigestBuilder name;
  name.add(function.what()).add(task);
  function.add_to(name);
  for (const Graph::Handle& input : inputs) name.add(Graph::name(input));
  return name.finish();
}

std::vector<double> to_numbers(const TrainingNumbers& from) {
  std::vector<double> numbers = {from.mean_loss, from.mean_square_loss, from.head_update};
  numbers.insert(numbers.end(), from.layer_updates.begin(), from.layer_updates.end());
  numbers.insert(numbers.end(), from.layer_fisher.begin(), from.layer_fisher.end());
  return numbers;
}

TrainingNumbers from_numbers(const std::vector<double>& numbers) {
  constexpr std::ptrdiff_t kFirst = 3;
  const std::ptrdiff_t layers = (std::ssize(numbers) - kFirst) / 2;
  const auto updates = numbers.begin() + kFirst;
  return {numbers.at(0),
          numbers.at(1),
          numbers.at(2),
          {updates, updates + layers},
          {updates + layers, numbers.end()}};
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

  Value initial(const Share& share, uint64_t seed) override {
    const auto compute = [task = task_, share, seed](const auto&) {
      const LearningTask& t = task->get();
      const int64_t outputs = t.train->has_responses() ? 0 : t.train->classes;
      nn::TensorMap state = nn::random_adapter(t.base->architecture(), t.adapter, share.ranks,
                                               outputs, seed, share.experts, share.shared);
      if (t.adapter.prompt.tokens > 0) {
        const at::Tensor embeddings = t.weights->at("embeddings.token").cpu();
        const int64_t known = t.tokenizer->size();  // a base may have rows for more
        state.merge(nn::random_prompt(t.adapter.prompt, embeddings.narrow(0, 0, known), seed));
      }
      return Outcome{std::move(state), {}};
    };
    return value(
        {add({JobKind::kInitial, initial_name(name_, share, seed), "initial adapter", {}, compute},
             false)});
  }

  Value train(const Value& start, const TrainJob& job,
              const std::vector<Value>& controls) override {
    std::vector<Graph::Handle> from = {state_of(start)};
    for (const Value& control : controls) from.push_back(state_of(control));
    const auto compute = [task = task_, job](const std::vector<const nn::TensorMap*>& inputs) {
      const std::vector<const nn::TensorMap*> variates(inputs.begin() + 1, inputs.end());
      const LearningTask& on = with_merged(task->get(), *inputs.front());
      TrainResult trained = learning::train(on, *inputs.front(), job, variates);
      task->note_buffers(trained.buffer_bytes);
      return Outcome{std::move(trained.tensors), to_numbers(trained.numbers)};
    };
    const Digest name = train_name(name_, from, job);
    return value({add({JobKind::kTraining, name,
                       fmt::format("round {}, client {}: local training", job.round, job.client),
                       std::move(from), compute},
                      true)});
  }

  Value apply(const Function& function, const std::vector<Value>& on,
              const std::string& after) override {
    std::vector<Graph::Handle> inputs;
    for (const Value& state : on) inputs.push_back(state_of(state));
    const Digest name = function_name(name_, *function, inputs);
    const auto compute = [task = task_, function](const std::vector<const nn::TensorMap*>& maps) {
      return (*function)(maps, [&task]() -> const LearningTask& { return task->get(); });
    };
    return value({add({JobKind::kAggregation, name, after + ": " + function->what(),
                       std::move(inputs), compute, function->is_kept()},
                      function->is_measure())});
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
    double rows = 0, score = 0, loss = 0;
    for (const Graph::Handle& part : evaluation->parts) {
      const std::vector<double> sums = graph_.numbers(part);
      rows += sums.at(0);
      score += sums.at(1);
      loss += sums.at(2);
    }
    return {score / rows, loss / rows, static_cast<int64_t>(rows)};
  }

  TrainingNumbers training_numbers(const Value& update) override {
    return from_numbers(numbers(update));
  }

  std::vector<double> numbers(const Value& of) override { return graph_.numbers(state_of(of)); }

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
    const double scale = spec.adapter.alpha / static_cast<double>(spec.adapter.rank);
    nn::TensorMap plain, mixtures;
    for (const auto& [name, tensor] : *tensors) {
      const TensorName parsed = parse_tensor_name(name);
      const bool of_mixture = parsed.expert >= 0 || parsed.kind == TensorKind::kRouter;
      (of_mixture ? mixtures : plain)[name] = tensor;
    }
    const nn::PeftSettings settings{.rank = spec.adapter.rank,
                                    .alpha = spec.adapter.alpha,
                                    .dropout = spec.adapter.dropout,
                                    .base_name = spec.base_origin,
                                    .task = has_responses(spec.train)
                                                ? nn::PeftTask::kCausalLanguageModel
                                                : nn::PeftTask::kSequenceClassification};
    const at::Tensor prompt = nn::soft_prompt(*tensors);
    if (prompt.defined()) {
      nn::write_peft_prompt(folder, spec.architecture, prompt, settings);
    } else {
      nn::write_peft_adapter(folder, spec.architecture, nn::model_type_of(spec.architecture),
                             with_merged_as_adapters(plain, scale), settings);
    }
    const std::filesystem::path beside = folder / "experts.safetensors";
    std::error_code none;
    std::filesystem::remove(beside, none);  // an earlier run's
    if (!mixtures.empty()) nn::write_safetensors(beside, mixtures);
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
      const LearningTask& t = with_merged(task->get(), *inputs.front());
      const EvaluationSums sums = learning::evaluate(
          t, *inputs.front(), source == RowSource::kTrain ? *t.train : *t.test, chunk);
      task->note_buffers(sums.buffer_bytes);
      return Outcome{{}, {static_cast<double>(sums.rows), sums.score, sums.loss}};
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
  Value initial(const Share&, uint64_t) override { return {}; }
  Value train(const Value&, const TrainJob&, const std::vector<Value>&) override { return {}; }
  Value apply(const Function&, const std::vector<Value>&, const std::string&) override {
    return {};
  }
  Value numbers_of(const Value&) override { return {}; }
  Value evaluate(const Value&, RowSource, const Rows&) override { return {}; }
  Metrics metrics(const Value&) override { throw no_numbers(); }
  TrainingNumbers training_numbers(const Value&) override { throw no_numbers(); }
  std::vector<double> numbers(const Value&) override { throw no_numbers(); }
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
