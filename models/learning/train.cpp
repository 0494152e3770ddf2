#include "models/learning/train.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <malloc.h>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/learning/adapter_names.h"
#include "models/learning/batch_gradients.h"
#include "models/learning/ensemble.h"
#include "models/learning/optimizer.h"
#include "models/learning/reference.h"
#include "models/nn/soft_prompt.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

Random random_of(const TrainJob& job, const std::string& purpose) {
  const std::string part = job.part == 0 ? "" : " of part " + std::to_string(job.part);
  return Random(job.seed, purpose + part, static_cast<uint64_t>(job.round),
                static_cast<uint64_t>(job.client));
}

std::vector<std::vector<int32_t>> plan_batches(const TrainJob& job) {
  const std::vector<int32_t>& rows = *job.rows;
  ensure(!rows.empty(), "a client without rows trains");
  Random random = random_of(job, "batches");
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

namespace {

constexpr size_t kHead = static_cast<size_t>(-1);

// A trained tensor, and what of the job concerns it.
struct Trained {
  std::string name;
  size_t layer = kHead;  // or the head, or the soft prompt
};

// A pair's tail, HetLoRA's penalty: B[:, keep:] and A[keep:, :].
struct Tail {
  std::string a, b;
};

// The sum of the squares, in double; `values` are float32 and contiguous. Clipping (optimizer.cpp)
// adds up one by one instead: the bits of bases depend on it.
double squared_norm(const at::Tensor& values) {
  // Eight sums side by side: one alone would wait for each addition.
  constexpr int64_t kSums = 8;
  double sums[kSums] = {};
  const float* v = values.data_ptr<float>();
  const int64_t size = values.numel(), whole = size / kSums * kSums;
  for (int64_t i = 0; i < whole; i += kSums) {
    for (int64_t k = 0; k < kSums; ++k) sums[k] += static_cast<double>(v[i + k]) * v[i + k];
  }
  for (int64_t i = whole; i < size; ++i) sums[i - whole] += static_cast<double>(v[i]) * v[i];
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

class Training {
 public:
  Training(const LearningTask& task, const nn::TensorMap& start, const TrainJob& job,
           const std::vector<const nn::TensorMap*>& controls)
      : task_(task), start_(start), job_(job), controls_(controls) {
    ensure(job.has_controls == (controls.size() == 2), "control variates without their job");
    const auto layers = static_cast<size_t>(task.architecture().layers);
    ensure(job.trained.ranks.size() == layers, "a share of another model");
    ensure(job.ensemble == private_weight(start).has_value(), "an ensemble without its job");
    result_.tensors = start;
    result_.numbers.layer_updates.assign(layers, 0);
    result_.numbers.layer_fisher.assign(layers, 0);
    if (job.trained.head) {
      for (const char* name : {"head.weight", "head.bias"}) add(name, kHead);
      for (const auto& [name, tensor] : start) {
        if (name.starts_with("prompt.")) add(name, kHead);
      }
    }
    for (size_t layer = 0; layer < layers; ++layer) {
      if (job.trained.ranks[layer] > 0) add_layer(layer);
    }
    ensure(!trained_.empty(), "a job that trains nothing");
  }

  TrainResult run() {
    const auto batches = plan_batches(job_);
    const bool fast = task_.trunk != nullptr && task_.adapter.dropout == 0;
    const auto gradients_of =
        !fast ? make_reference_gradients(task_, result_.tensors, job_)
        : job_.ensemble
            ? make_ensemble_gradients(task_, result_.tensors, depth())
            : make_fast_gradients(task_, result_.tensors, depth(), batches, job_.load_balance);
    Optimizer optimizer({.kind = job_.settings.optimizer,
                         .weight_decay = job_.settings.weight_decay,
                         .momentum = job_.settings.momentum,
                         .clip_norm = job_.settings.clip_norm});
    double loss_sum = 0, square_sum = 0, row_sum = 0;
    for (const std::vector<int32_t>& rows : batches) {
      const BatchLoss loss = (*gradients_of)(rows, gradients_);
      add_fisher();
      add_penalties();
      optimizer.step(parameters_, gradients_, job_.learning_rate);
      result_.step_losses.push_back(loss.mean);
      const auto weight = static_cast<double>(rows.size());
      loss_sum += loss.mean * weight;
      square_sum += loss.mean_square * weight;
      row_sum += weight;
    }
    result_.numbers.mean_loss = row_sum > 0 ? loss_sum / row_sum : 0;
    result_.numbers.mean_square_loss = row_sum > 0 ? square_sum / row_sum : 0;
    result_.buffer_bytes = gradients_of->buffer_bytes();
    finish_numbers(static_cast<double>(batches.size()));
    return std::move(result_);
  }

 private:
  // Layers that the gradient goes down.
  int64_t depth() const {
    return nn::has_prompt(gradients_) ? task_.architecture().layers : job_.trained.depth();
  }

  void add(const std::string& name, size_t layer) {
    add_one(name, layer);
    if (job_.ensemble) add_one(private_name(name), layer);
  }

  void add_one(const std::string& name, size_t layer) {
    const auto found = start_.find(name);
    if (found == start_.end()) return;
    at::Tensor& tensor = result_.tensors[name];
    tensor = tensor.clone();
    parameters_[name] = tensor;
    gradients_[name] = at::empty_like(tensor);
    trained_.push_back({name, layer});
  }

  void add_pair(const std::string& pair, size_t layer) {
    if (job_.trained.a) add(name_of_a(pair), layer);
    if (job_.trained.b) add(name_of_b(pair), layer);
  }

  void add_layer(size_t layer) {
    for (const nn::Target target : nn::kAllTargets) {
      const nn::Module module{static_cast<int64_t>(layer), target};
      const std::string pair = nn::layer_tensor(module.layer, nn::target_name(target));
      const std::string a = name_of_a(pair), b = name_of_b(pair);
      add_pair(pair, layer);
      add_experts(module, pair);
      const auto found = start_.find(a);
      if (job_.tail_lambda == 0 || found == start_.end()) continue;
      if (found->second.size(0) > job_.tail_keep) tails_.push_back({a, b});
    }
  }

  void add_experts(const nn::Module& module, const std::string& map) {
    const auto own = job_.trained.experts.find(module);
    if (own == job_.trained.experts.end()) return;
    const auto layer = static_cast<size_t>(module.layer);
    for (const int32_t expert : own->second) {
      add_pair(nn::expert_name(map, expert), layer);
    }
    if (job_.trained.routers) add(nn::router_name(map), layer);
  }

  void add_fisher() {
    for (const Trained& one : trained_) {
      if (one.layer == kHead) continue;
      result_.numbers.layer_fisher[one.layer] += squared_norm(gradients_.at(one.name));
    }
  }

  // The gradients of what the local answer adds to the loss.
  void add_penalties() {
    at::NoGradGuard no_gradients;
    for (const Trained& one : trained_) {
      at::Tensor& gradient = gradients_.at(one.name);
      if (job_.proximal_mu > 0) {
        gradient.add_(parameters_.at(one.name) - start_.at(one.name), job_.proximal_mu);
      }
      if (!job_.has_controls) continue;
      for (size_t i = 0; i < controls_.size(); ++i) {
        const auto control = controls_[i]->find(one.name);
        if (control != controls_[i]->end()) gradient.add_(control->second, i == 0 ? 1.0 : -1.0);
      }
    }
    for (const Tail& tail : tails_) add_tail(tail);
  }

  void add_tail(const Tail& tail) {
    const int64_t keep = job_.tail_keep;
    const at::Tensor& a = result_.tensors.at(tail.a);
    const at::Tensor& b = result_.tensors.at(tail.b);
    const int64_t size = a.size(0) - keep;
    const at::Tensor tail_a = a.narrow(0, keep, size), tail_b = b.narrow(1, keep, size);
    const double norm_a = tail_a.to(at::kDouble).norm().item<double>();
    const double norm_b = tail_b.to(at::kDouble).norm().item<double>();
    const auto pull = [&](const std::string& name, const at::Tensor& of, int64_t dimension,
                          double own, double other) {
      const auto gradient = gradients_.find(name);
      // The norm has no gradient at 0, where it is least.
      if (gradient == gradients_.end() || own == 0) return;
      gradient->second.narrow(dimension, keep, size).add_(of, job_.tail_lambda * other / own);
    };
    pull(tail.a, tail_a, 0, norm_a, norm_b);
    pull(tail.b, tail_b, 1, norm_b, norm_a);
  }

  void finish_numbers(double steps) {
    TrainingNumbers& numbers = result_.numbers;
    std::vector<double> elements(numbers.layer_fisher.size(), 0);
    for (const Trained& one : trained_) {
      const at::Tensor& now = parameters_.at(one.name);
      const float* w = now.data_ptr<float>();
      const float* from = start_.at(one.name).data_ptr<float>();
      double sum = 0;
      for (int64_t i = 0; i < now.numel(); ++i) {
        const double difference = static_cast<double>(w[i]) - from[i];
        sum += difference * difference;
      }
      (one.layer == kHead ? numbers.head_update : numbers.layer_updates[one.layer]) += sum;
      if (one.layer != kHead) elements[one.layer] += static_cast<double>(now.numel());
    }
    for (size_t layer = 0; layer < elements.size(); ++layer) {
      if (elements[layer] > 0) numbers.layer_fisher[layer] /= elements[layer] * steps;
    }
  }

  const LearningTask& task_;
  const nn::TensorMap& start_;
  const TrainJob& job_;
  const std::vector<const nn::TensorMap*>& controls_;
  std::vector<Trained> trained_;
  std::vector<Tail> tails_;
  nn::TensorMap parameters_, gradients_;
  TrainResult result_;
};

}  // namespace

TrainResult train(const LearningTask& task, const nn::TensorMap& start, const TrainJob& job,
                  const std::vector<const nn::TensorMap*>& controls) {
  return Training(task, start, job, controls).run();
}

void prepare_process() {
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  // Makes torch's own pool of threads: in a forked process, threads would race for it.
  at::set_num_threads(1);
  // oneDNN allocates a scratch for most products: the memory stays with the process, or the kernel
  // would take it back and clear it anew each time (5 to 8 % of a training step).
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
}

void prepare_thread() {
  at::set_num_threads(1);
  at::globalContext().setFlushDenormal(true);
}

}  // namespace fedclock::learning
