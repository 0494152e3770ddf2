#include "models/learning/reference.h"

#include <ATen/CPUGeneratorImpl.h>

#include "models/learning/train.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

// log p [n, classes or vocabulary] of each target, and the targets [n] int64.
struct Scores {
  at::Tensor log_p, targets;
};

// Of the states that predict the targets, in the padded batch: row * tokens + position. [n] int64
at::Tensor padded_places(const Examples& examples, int64_t tokens) {
  std::vector<int64_t> places;
  for (size_t i = 0; i < examples.places.size(); ++i) {
    const int64_t row = examples.row_of[i];
    places.push_back(row * tokens + examples.places[i] - examples.rows.offsets[row]);
  }
  return at::tensor(places, at::kLong);
}

Scores scores_of(const LearningTask& task, const nn::Adapters& adapters,
                 const nn::TensorMap& tensors, std::span<const EncodedRow* const> rows) {
  const at::Device device = task.base->device();
  const nn::Batch batch = make_batch(rows, task.pad).to(device);
  const Examples examples = make_examples(rows, task.train->has_responses());
  const at::Tensor hidden = task.base->hidden(batch, adapters);  // [rows, tokens, width]
  at::Tensor scores;
  if (examples.has_responses()) {
    const at::Tensor places = padded_places(examples, hidden.size(1)).to(device);
    scores =
        task.base->vocabulary_scores(hidden.reshape({-1, hidden.size(2)}).index_select(0, places));
  } else {
    scores = at::linear(nn::pooled(task.architecture().kind, hidden, batch.real),
                        tensors.at("head.weight"), tensors.at("head.bias"));
  }
  return {at::log_softmax(scores, 1), at::tensor(examples.targets, at::kLong).to(device)};
}

nn::TensorMap on_device(const nn::TensorMap& tensors, const at::Device& device) {
  nn::TensorMap moved;
  for (const auto& [name, tensor] : tensors) moved[name] = tensor.detach().to(device);
  return moved;
}

class ReferenceGradients : public BatchGradients {
 public:
  ReferenceGradients(const LearningTask& task, const nn::TensorMap& tensors, const TrainJob& job)
      : task_(task),
        tensors_(tensors),
        load_balance_(job.load_balance),
        generator_(at::detail::createCPUGenerator(random_of(job, "dropout").bits64())) {}

  BatchLoss operator()(std::span<const int32_t> rows, nn::TensorMap& gradients) override {
    nn::TensorMap tensors = on_device(tensors_, task_.base->device());
    std::vector<at::Tensor> inputs;
    for (const auto& [name, gradient] : gradients) {
      inputs.push_back(tensors.at(name).set_requires_grad(true));
    }
    nn::Adapters adapters(task_.architecture(), task_.adapter, tensors);
    adapters.enable_dropout(generator_);
    const auto encoded = rows_of(*task_.train, rows);
    if (load_balance_ > 0) {
      adapters.collect_balance(make_batch(encoded, task_.pad).to(task_.base->device()).real);
    }
    const Scores scores = scores_of(task_, adapters, tensors, encoded);
    const at::Tensor loss = at::nll_loss(scores.log_p, scores.targets);
    at::Tensor whole = loss;
    if (adapters.balance().defined()) whole = loss + load_balance_ * adapters.balance();
    const auto results = torch::autograd::grad({whole}, inputs);
    at::NoGradGuard no_gradients;
    size_t i = 0;
    for (auto& [name, gradient] : gradients) gradient.copy_(results[i++]);
    const at::Tensor own = scores.log_p.gather(1, scores.targets.unsqueeze(1)).to(at::kDouble);
    return {loss.item<double>(), own.square().mean().item<double>()};
  }

  int64_t buffer_bytes() const override { return 0; }

 private:
  const LearningTask& task_;
  const nn::TensorMap& tensors_;  // read anew at each batch
  double load_balance_;
  at::Generator generator_;
};

}  // namespace

at::Tensor reference_loss(const LearningTask& task, const nn::Adapters& adapters,
                          const nn::TensorMap& tensors, std::span<const EncodedRow* const> rows) {
  const Scores scores = scores_of(task, adapters, tensors, rows);
  return at::nll_loss(scores.log_p, scores.targets);
}

TargetLosses reference_losses(const LearningTask& task, const nn::TensorMap& tensors,
                              std::span<const EncodedRow* const> rows) {
  at::NoGradGuard no_gradients;
  const nn::TensorMap moved = on_device(tensors, task.base->device());
  const Scores scores =
      scores_of(task, nn::Adapters(task.architecture(), task.adapter, moved), moved, rows);
  const at::Tensor losses =
      -scores.log_p.gather(1, scores.targets.unsqueeze(1)).squeeze(1).to(at::kDouble).cpu();
  const double* begin = losses.data_ptr<double>();
  return {{begin, begin + losses.numel()},
          (scores.log_p.argmax(1) == scores.targets).sum().item<int64_t>()};
}

std::unique_ptr<BatchGradients> make_reference_gradients(const LearningTask& task,
                                                         const nn::TensorMap& tensors,
                                                         const TrainJob& job) {
  return std::make_unique<ReferenceGradients>(task, tensors, job);
}

}  // namespace fedclock::learning
