#include "models/learning/train.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <malloc.h>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/learning/batch_gradients.h"
#include "models/learning/optimizer.h"
#include "models/learning/reference.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

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

namespace {

// Whether a tensor of the state is trained at this depth.
bool is_trained(const std::string& name, int64_t layers, int64_t depth) {
  if (name.starts_with("head.")) return true;
  for (int64_t layer = layers - depth; layer < layers; ++layer) {
    if (name.starts_with(nn::layer_tensor(layer, ""))) return true;
  }
  return false;
}

}  // namespace

TrainResult train(const LearningTask& task, const nn::TensorMap& start, const TrainJob& job) {
  const int64_t layers = task.architecture().layers;
  TrainResult result;
  nn::TensorMap trained, gradients;
  for (const auto& [name, tensor] : start) {
    const bool tuned = is_trained(name, layers, job.depth);
    result.tensors[name] = tuned ? tensor.clone() : tensor;
    if (!tuned) continue;
    trained[name] = result.tensors[name];
    gradients[name] = at::empty_like(tensor);
  }
  const auto batches = plan_batches(job);
  const bool fast = task.trunk != nullptr && task.adapter.dropout == 0;
  const auto gradients_of = fast ? make_fast_gradients(task, result.tensors, job.depth, batches)
                                 : make_reference_gradients(task, result.tensors, job);
  Optimizer optimizer({.kind = job.settings.optimizer,
                       .weight_decay = job.settings.weight_decay,
                       .momentum = job.settings.momentum,
                       .clip_norm = job.settings.clip_norm});
  double loss_sum = 0, row_sum = 0;
  for (const std::vector<int32_t>& rows : batches) {
    const double loss = (*gradients_of)(rows, gradients);
    optimizer.step(trained, gradients, job.learning_rate);
    result.step_losses.push_back(loss);
    loss_sum += loss * static_cast<double>(rows.size());
    row_sum += static_cast<double>(rows.size());
  }
  result.mean_loss = row_sum > 0 ? loss_sum / row_sum : 0;
  result.buffer_bytes = gradients_of->buffer_bytes();
  return result;
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
