// Local training as a pure function of immutable values: the same base, state, rows, settings and
// seed give the same bits, on any number of workers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/common/random.h"
#include "models/learning/learner.h"
#include "models/learning/learning_task.h"

namespace fedclock::learning {

struct TrainResult {
  nn::TensorMap tensors;  // the whole state after training
  TrainingNumbers numbers;
  std::vector<double> step_losses;  // without penalties
  int64_t buffer_bytes = 0;         // activations, kept or passing, at most
};

// Runs job.settings on job.rows from `start`. Trains the tensors of `start` that job.trained names;
// the others act in the forward pass but stay as they are. `controls` are c and c_i where the job
// has them (a tensor that one of them lacks counts as 0).
TrainResult train(const LearningTask& task, const nn::TensorMap& start, const TrainJob& job,
                  const std::vector<const nn::TensorMap*>& controls = {});

// A job's own generator for a purpose. Later parts of a round have purposes of their own: first
// parts draw what they would if they were the only ones.
Random random_of(const TrainJob& job, const std::string& purpose);

// Rows of all steps of a job, in order: passes over the rows, each shuffled anew; with a number of
// steps, batches run on over the end of a pass.
std::vector<std::vector<int32_t>> plan_batches(const TrainJob& job);

// Once in a process, before its first thread computes: deterministic operators.
void prepare_process();
// Once in every thread that computes: one torch thread, denormals flushed to zero (a step would
// take up to ten times as long with them).
void prepare_thread();

}  // namespace fedclock::learning
