#include "models/learning/reference.h"

#include <ATen/CPUGeneratorImpl.h>

#include <optional>

#include "models/learning/ensemble.h"
#include "models/learning/train.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

// Of each target.
struct Scores {
  Scores(at::Tensor scores, at::Tensor of)
      : z(std::move(scores)), log_p(at::log_softmax(z, 1)), targets(std::move(of)) {}

  at::Tensor loss() const { return at::nll_loss(log_p, targets); }  // mean
  Scores detached() const { return {z.detach(), targets}; }

  at::Tensor z, log_p;  // [n, classes or vocabulary]
  at::Tensor targets;   // [n] int64
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
  return {scores, at::tensor(examples.targets, at::kLong).to(device)};
}

nn::TensorMap on_device(const nn::TensorMap& tensors, const at::Device& device) {
  nn::TensorMap moved;
  for (const auto& [name, tensor] : tensors) moved[name] = tensor.detach().to(device);
  return moved;
}

Scores scores_of(const LearningTask& task, const nn::TensorMap& tensors,
                 std::span<const EncodedRow* const> rows,
                 const std::optional<at::Generator>& dropout = {}) {
  nn::Adapters adapters(task.architecture(), task.adapter, tensors);
  if (dropout) adapters.enable_dropout(*dropout);
  return scores_of(task, adapters, tensors, rows);
}

// z of an ensemble.
Scores mixed(double weight, const Scores& own, const Scores& shared) {
  return {weight * own.z + (1 - weight) * shared.z, own.targets};
}

// What a model of an ensemble learns by: its own loss, KL(p of the other || its own p), and the
// ensemble's loss with the other's z held still.
at::Tensor mutual_loss(const Scores& model, const Scores& other, const Scores& both) {
  const at::Tensor p = at::softmax(other.z.detach(), 1);
  const at::Tensor divergence = (p * (p.log() - model.log_p)).sum(1).mean();
  return model.loss() + divergence + both.loss();
}

class ReferenceGradients : public BatchGradients {
 public:
  ReferenceGradients(const LearningTask& task, const nn::TensorMap& tensors, const TrainJob& job)
      : task_(task),
        tensors_(tensors),
        load_balance_(job.load_balance),
        weight_(private_weight(tensors)),
        generator_(at::detail::createCPUGenerator(random_of(job, "dropout").bits64())) {}

  BatchLoss operator()(std::span<const int32_t> rows, nn::TensorMap& gradients) override {
    nn::TensorMap tensors = on_device(tensors_, task_.base->device());
    std::vector<at::Tensor> inputs;
    for (const auto& [name, gradient] : gradients) {
      inputs.push_back(tensors.at(name).set_requires_grad(true));
    }
    const auto encoded = rows_of(*task_.train, rows);
    const Losses losses = weight_ ? of_ensemble(tensors, encoded) : of_model(tensors, encoded);
    const auto results = torch::autograd::grad({losses.whole}, inputs);
    at::NoGradGuard no_gradients;
    size_t i = 0;
    for (auto& [name, gradient] : gradients) gradient.copy_(results[i++]);
    const Scores& scores = losses.scores;
    const at::Tensor own = scores.log_p.gather(1, scores.targets.unsqueeze(1)).to(at::kDouble);
    return {losses.loss.item<double>(), own.square().mean().item<double>()};
  }

  int64_t buffer_bytes() const override { return 0; }

 private:
  struct Losses {
    at::Tensor whole;  // that is differentiated
    Scores scores;     // of what is told of
    at::Tensor loss;   // of these
  };

  Losses of_model(const nn::TensorMap& tensors, std::span<const EncodedRow* const> rows) {
    nn::Adapters adapters(task_.architecture(), task_.adapter, tensors);
    adapters.enable_dropout(generator_);
    if (load_balance_ > 0) {
      adapters.collect_balance(make_batch(rows, task_.pad).to(task_.base->device()).real);
    }
    const Scores scores = scores_of(task_, adapters, tensors, rows);
    const at::Tensor loss = scores.loss();
    const bool balanced = adapters.balance().defined();
    return {balanced ? loss + load_balance_ * adapters.balance() : loss, scores, loss};
  }

  Losses of_ensemble(const nn::TensorMap& tensors, std::span<const EncodedRow* const> rows) {
    const Scores shared = scores_of(task_, member_of(tensors, Member::kShared), rows, generator_);
    const Scores own = scores_of(task_, member_of(tensors, Member::kPrivate), rows, generator_);
    const Scores both = mixed(*weight_, own.detached(), shared.detached());
    return {mutual_loss(own, shared, mixed(*weight_, own, shared.detached())) +
                mutual_loss(shared, own, mixed(*weight_, own.detached(), shared)),
            both, both.loss()};
  }

  const LearningTask& task_;
  const nn::TensorMap& tensors_;  // read anew at each batch
  double load_balance_;
  const std::optional<float> weight_;  // of an ensemble's private model
  at::Generator generator_;
};

}  // namespace

at::Tensor reference_loss(const LearningTask& task, const nn::Adapters& adapters,
                          const nn::TensorMap& tensors, std::span<const EncodedRow* const> rows) {
  return scores_of(task, adapters, tensors, rows).loss();
}

TargetLosses reference_losses(const LearningTask& task, const nn::TensorMap& tensors,
                              std::span<const EncodedRow* const> rows) {
  at::NoGradGuard no_gradients;
  const nn::TensorMap moved = on_device(tensors, task.base->device());
  const std::optional<float> weight = private_weight(tensors);
  const Scores shared = scores_of(task, member_of(moved, Member::kShared), rows);
  const Scores scores =
      weight ? mixed(*weight, scores_of(task, member_of(moved, Member::kPrivate), rows), shared)
             : shared;
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
