#include "models/learning/train.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/learning/optimizer.h"

namespace fedclock::learning {

namespace {

constexpr std::string_view kHead = "head.";

// Rows of all steps of a job, in order: passes over the rows, each shuffled anew; with a number of
// steps, batches run on over the end of a pass.
std::vector<std::vector<int32_t>> plan_batches(const TrainJob& job) {
  const std::vector<int32_t>& rows = *job.rows;
  ensure(!rows.empty(), "a client without rows trains");
  Random random(job.seed, "batches", job.round, job.client);
  const auto batch_rows = static_cast<size_t>(job.settings.batch_rows);
  const int64_t steps = job.settings.steps_for(static_cast<int64_t>(rows.size()));
  std::vector<std::vector<int32_t>> batches;
  std::vector<int32_t> order;
  size_t next = 0;
  const auto reshuffle = [&] {
    order = rows;
    random.shuffle(order);
    next = 0;
  };
  reshuffle();
  for (int64_t step = 0; step < steps; ++step) {
    std::vector<int32_t> batch;
    while (batch.size() < batch_rows) {
      if (next == order.size()) {
        if (job.settings.epochs > 0 && !batch.empty()) break;  // the last, smaller one of a pass
        reshuffle();
      }
      batch.push_back(order[next++]);
    }
    batches.push_back(std::move(batch));
  }
  return batches;
}

std::vector<const EncodedRow*> gather(const EncodedSet& set, std::span<const int32_t> rows) {
  std::vector<const EncodedRow*> chosen;
  chosen.reserve(rows.size());
  for (int32_t row : rows) chosen.push_back(&set.rows.at(row));
  return chosen;
}

// Mean cross entropy of the head's classes over rows.
at::Tensor classification_loss(const at::Tensor& scores, std::span<const EncodedRow* const> rows) {
  at::Tensor labels = at::empty({static_cast<int64_t>(rows.size())}, at::kLong);
  for (size_t i = 0; i < rows.size(); ++i) labels.data_ptr<int64_t>()[i] = rows[i]->label;
  return at::nll_loss(at::log_softmax(scores, 1), labels);
}

// Where next tokens are predicted: for each response token the state of the token before it.
struct ResponsePlaces {
  at::Tensor flat;     // [n] int64: row * tokens + position of the state
  at::Tensor targets;  // [n] int64: the token to come
  at::Tensor row_of;   // [n] int64
};

ResponsePlaces response_places(std::span<const EncodedRow* const> rows, int64_t tokens) {
  std::vector<int64_t> flat, targets, row_of;
  for (size_t r = 0; r < rows.size(); ++r) {
    const EncodedRow& row = *rows[r];
    ensure(row.response_begin >= 1, "a row without a response in a language-modelling batch");
    for (size_t t = row.response_begin; t < row.ids.size(); ++t) {
      flat.push_back(static_cast<int64_t>(r) * tokens + static_cast<int64_t>(t) - 1);
      targets.push_back(row.ids[t]);
      row_of.push_back(static_cast<int64_t>(r));
    }
  }
  return {at::tensor(flat, at::kLong), at::tensor(targets, at::kLong),
          at::tensor(row_of, at::kLong)};
}

// -log p of every response token of the batch [n], and where they are.
std::pair<at::Tensor, ResponsePlaces> response_losses(const LearningTask& task,
                                                      const at::Tensor& hidden,
                                                      std::span<const EncodedRow* const> rows) {
  ResponsePlaces places = response_places(rows, hidden.size(1));
  const at::Tensor states = hidden.reshape({-1, hidden.size(2)}).index_select(0, places.flat);
  const at::Tensor log_p = at::log_softmax(task.base->vocabulary_scores(states), 1);
  at::Tensor losses = -log_p.gather(1, places.targets.unsqueeze(1)).squeeze(1);
  return {std::move(losses), std::move(places)};
}

at::Tensor head_scores(const at::Tensor& states, const nn::TensorMap& tensors) {
  return at::linear(states, tensors.at("head.weight"), tensors.at("head.bias"));
}

at::Tensor batch_loss(const LearningTask& task, const nn::Adapters& adapters,
                      const nn::TensorMap& tensors, std::span<const EncodedRow* const> rows) {
  const nn::Batch batch = make_batch(rows, task.pad);
  const at::Tensor hidden = task.base->hidden(batch, adapters);
  if (task.train.has_responses()) return response_losses(task, hidden, rows).first.mean();
  const at::Tensor states = nn::pooled(task.base->architecture().kind, hidden, batch.real);
  return classification_loss(head_scores(states, tensors), rows);
}

// Whether a tensor of the state is trained at this depth.
bool is_trained(const std::string& name, int64_t layers, int64_t depth) {
  if (name.starts_with(kHead)) return true;
  for (int64_t layer = layers - depth; layer < layers; ++layer) {
    if (name.starts_with(nn::layer_tensor(layer, ""))) return true;
  }
  return false;
}

}  // namespace

TrainResult train(const LearningTask& task, const nn::TensorMap& start, const TrainJob& job) {
  const int64_t layers = task.base->architecture().layers;
  TrainResult result;
  nn::TensorMap trained;
  for (const auto& [name, tensor] : start) {
    at::Tensor copy = tensor;
    if (is_trained(name, layers, job.depth)) {
      copy = tensor.clone();
      copy.set_requires_grad(true);
      trained[name] = copy;
    }
    result.tensors[name] = copy;
  }
  std::vector<at::Tensor> inputs;
  for (const auto& [name, tensor] : trained) inputs.push_back(tensor);

  nn::Adapters adapters(task.base->architecture(), task.adapter, result.tensors);
  const uint64_t dropout_seed = Random(job.seed, "dropout", job.round, job.client).bits64();
  adapters.enable_dropout(at::detail::createCPUGenerator(dropout_seed));
  Optimizer optimizer({.kind = job.settings.optimizer,
                       .weight_decay = job.settings.weight_decay,
                       .momentum = job.settings.momentum,
                       .clip_norm = job.settings.clip_norm});
  double loss_sum = 0, row_sum = 0;
  for (const std::vector<int32_t>& numbers : plan_batches(job)) {
    const auto rows = gather(task.train, numbers);
    const at::Tensor loss = batch_loss(task, adapters, result.tensors, rows);
    const auto gradients = torch::autograd::grad({loss}, inputs);
    nn::TensorMap named;
    size_t i = 0;
    for (const auto& [name, tensor] : trained) named[name] = gradients[i++].contiguous();
    optimizer.step(trained, named, job.learning_rate);
    loss_sum += loss.item<double>() * static_cast<double>(rows.size());
    row_sum += static_cast<double>(rows.size());
  }
  for (auto& [name, tensor] : result.tensors) tensor = tensor.detach();
  result.mean_loss = row_sum > 0 ? loss_sum / row_sum : 0;
  return result;
}

namespace {

void add_classification(const LearningTask& task, const nn::TensorMap& state,
                        const nn::Adapters& adapters, std::span<const EncodedRow* const> rows,
                        EvaluationSums& sums) {
  const nn::Batch batch = make_batch(rows, task.pad);
  const at::Tensor states =
      nn::pooled(task.base->architecture().kind, task.base->hidden(batch, adapters), batch.real);
  const at::Tensor log_p = at::log_softmax(head_scores(states, state), 1).contiguous();
  const int64_t classes = log_p.size(1);
  const float* values = log_p.data_ptr<float>();
  for (size_t r = 0; r < rows.size(); ++r) {
    const float* row = values + static_cast<int64_t>(r) * classes;
    sums.correct += std::max_element(row, row + classes) - row == rows[r]->label;
    sums.loss -= row[rows[r]->label];
  }
}

// Every row's prompt is followed by each class's answer in turn.
void add_answers(const LearningTask& task, const nn::Adapters& adapters, const EncodedSet& set,
                 std::span<const EncodedRow* const> rows, EvaluationSums& sums) {
  std::vector<EncodedRow> filled;
  for (const EncodedRow* row : rows) {
    for (const auto& answer : set.answers) {
      EncodedRow with_answer = *row;
      with_answer.ids.resize(row->response_begin);
      with_answer.ids.insert(with_answer.ids.end(), answer.begin(), answer.end());
      with_answer.ids.push_back(row->ids.back());  // the end token
      with_answer.types.assign(with_answer.ids.size(), 0);
      filled.push_back(std::move(with_answer));
    }
  }
  std::vector<const EncodedRow*> pointers;
  for (const EncodedRow& row : filled) pointers.push_back(&row);
  const nn::Batch batch = make_batch(pointers, task.pad);
  const auto [losses, places] = response_losses(task, task.base->hidden(batch, adapters), pointers);
  std::vector<double> total(filled.size(), 0), tokens(filled.size(), 0);
  for (int64_t i = 0; i < losses.numel(); ++i) {
    const int64_t row = places.row_of.data_ptr<int64_t>()[i];
    total[row] += losses.data_ptr<float>()[i];
    tokens[row] += 1;
  }
  const size_t classes = set.answers.size();
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto first = total.begin() + static_cast<int64_t>(r * classes);
    const auto best = std::min_element(first, first + static_cast<int64_t>(classes)) - first;
    const size_t own = r * classes + static_cast<size_t>(rows[r]->label);
    sums.correct += best == rows[r]->label;
    sums.loss += total[own] / tokens[own];
  }
}

}  // namespace

EvaluationSums evaluate(const LearningTask& task, const nn::TensorMap& state, const EncodedSet& set,
                        std::span<const int32_t> rows) {
  at::NoGradGuard no_gradients;
  const nn::Adapters adapters(task.base->architecture(), task.adapter, state);
  // Rows of like length together, so that little is spent on padding.
  std::vector<int32_t> order(rows.begin(), rows.end());
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return set.rows[a].ids.size() < set.rows[b].ids.size();
  });
  EvaluationSums sums;
  // With responses every row is tried with every answer.
  const size_t tries = std::max<size_t>(1, set.answers.size());
  const auto batch_rows = std::max<size_t>(1, static_cast<size_t>(task.evaluation_rows) / tries);
  for (size_t begin = 0; begin < order.size(); begin += batch_rows) {
    const auto part = std::span(order).subspan(begin, std::min(batch_rows, order.size() - begin));
    const auto chosen = gather(set, part);
    if (set.has_responses()) {
      add_answers(task, adapters, set, chosen, sums);
    } else {
      add_classification(task, state, adapters, chosen, sums);
    }
    sums.rows += static_cast<int64_t>(part.size());
  }
  return sums;
}

nn::TensorMap weighted_mean(const std::vector<const nn::TensorMap*>& states,
                            const std::vector<double>& weights) {
  ensure(!states.empty() && states.size() == weights.size(),
         "a mean needs a weight for each state");
  nn::TensorMap mean;
  std::vector<double> sum;
  for (const auto& [name, shape_of] : *states.front()) {
    const int64_t size = shape_of.numel();
    sum.assign(size, 0.0);
    for (size_t i = 0; i < states.size(); ++i) {
      const at::Tensor& tensor = states[i]->at(name);
      ensure(tensor.sizes() == shape_of.sizes(), "states of different shapes are averaged");
      const float* values = tensor.data_ptr<float>();
      for (int64_t k = 0; k < size; ++k) sum[k] += weights[i] * values[k];
    }
    at::Tensor result = at::empty(shape_of.sizes(), at::kFloat);
    for (int64_t k = 0; k < size; ++k) result.data_ptr<float>()[k] = static_cast<float>(sum[k]);
    mean[name] = result;
  }
  return mean;
}

void prepare_process() {
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  // Makes torch's own pool of threads: in a forked process, threads would race for it.
  at::set_num_threads(1);
}

void prepare_thread() {
  at::set_num_threads(1);
  at::globalContext().setFlushDenormal(true);
}

}  // namespace fedclock::learning
