// Local training and evaluation as pure functions of immutable values: the same base, state, rows,
// settings and seed give the same bits, on any number of workers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "models/learning/encoded.h"
#include "models/learning/learner.h"
#include "models/nn/transformer.h"

namespace fedclock::learning {

// What all jobs of a run share. Never changed while jobs run.
struct LearningTask {
  std::shared_ptr<const nn::Transformer> base;
  nn::AdapterSpec adapter;
  EncodedSet train, test;  // rows of the clients; rows of the server
  int32_t pad = 0;
  int64_t evaluation_rows = 128;  // rows a forward pass
};

struct TrainResult {
  nn::TensorMap tensors;  // the whole state after training
  double mean_loss = 0;   // over all steps, weighted by rows
};

// Runs job.settings on job.rows from `start`. Trains the adapters of the last job.depth layers and
// the head; the others act in the forward pass but stay as they are.
TrainResult train(const LearningTask& task, const nn::TensorMap& start, const TrainJob& job);

// Sums over rows, so that parts of a set can be added up in order.
struct EvaluationSums {
  int64_t rows = 0, correct = 0;
  double loss = 0;
};
// Classification: cross entropy and the share of rows whose class scores highest. With responses:
// mean loss of the response's tokens, and the share of rows whose own answer has the smallest loss,
// summed over its tokens, among all classes' answers.
EvaluationSums evaluate(const LearningTask& task, const nn::TensorMap& state, const EncodedSet& set,
                        std::span<const int32_t> rows);

// theta <- sum_i w_i theta_i with weights summing to 1, in the order given, in double precision.
nn::TensorMap weighted_mean(const std::vector<const nn::TensorMap*>& states,
                            const std::vector<double>& weights);

// Once in a process, before its first thread computes: deterministic operators.
void prepare_process();
// Once in every thread that computes: one torch thread, denormals flushed to zero (a step would
// take up to ten times as long with them).
void prepare_thread();

}  // namespace fedclock::learning
