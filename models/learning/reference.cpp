#include "models/learning/reference.h"

#include <ATen/CPUGeneratorImpl.h>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

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

}  // namespace

at::Tensor reference_loss(const LearningTask& task, const nn::Adapters& adapters,
                          const nn::TensorMap& tensors, std::span<const EncodedRow* const> rows) {
  const nn::Batch batch = make_batch(rows, task.pad);
  const at::Tensor hidden = task.base->hidden(batch, adapters);
  if (task.train.has_responses()) return response_losses(task, hidden, rows).first.mean();
  const at::Tensor states = nn::pooled(task.base->architecture().kind, hidden, batch.real);
  return classification_loss(head_scores(states, tensors), rows);
}

namespace {

class ReferenceGradients : public BatchGradients {
 public:
  ReferenceGradients(const LearningTask& task, const nn::TensorMap& tensors, const TrainJob& job)
      : task_(task),
        tensors_(tensors),
        adapters_(task.base->architecture(), task.adapter, tensors) {
    const uint64_t seed = Random(job.seed, "dropout", job.round, job.client).bits64();
    adapters_.enable_dropout(at::detail::createCPUGenerator(seed));
  }

  double operator()(std::span<const int32_t> rows, nn::TensorMap& gradients) override {
    // The tensors share their memory with the caller's, which change from step to step.
    std::vector<at::Tensor> inputs;
    for (const auto& [name, gradient] : gradients) {
      inputs.push_back(tensors_.at(name).set_requires_grad(true));
    }
    const at::Tensor loss = reference_loss(task_, adapters_, tensors_, rows_of(task_.train, rows));
    const auto results = torch::autograd::grad({loss}, inputs);
    at::NoGradGuard no_gradients;
    size_t i = 0;
    for (auto& [name, gradient] : gradients) gradient.copy_(results[i++]);
    return loss.item<double>();
  }

  int64_t buffer_bytes() const override { return 0; }

 private:
  const LearningTask& task_;
  nn::TensorMap tensors_;
  nn::Adapters adapters_;
};

}  // namespace

std::unique_ptr<BatchGradients> make_reference_gradients(const LearningTask& task,
                                                         const nn::TensorMap& tensors,
                                                         const TrainJob& job) {
  return std::make_unique<ReferenceGradients>(task, tensors, job);
}

}  // namespace fedclock::learning
