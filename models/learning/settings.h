// Hyper-parameters of local training.
#pragma once

#include <cstdint>

namespace fedclock::learning {

// What computes: the CPU by passes written for it (models/nn/trunk.h); the CPU by stock libtorch
// operators, several times slower, to check these; or a CUDA device, by the same stock operators.
enum class Device { kCpu, kReference, kCuda };

enum class OptimizerKind { kSgd, kAdamW };

struct TrainSettings {
  int64_t steps = 0;   // optimiser steps, or
  int64_t epochs = 0;  // passes over the rows; one of the two is 0
  int64_t batch_rows = 16;
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  double weight_decay = 0;
  double momentum = 0;
  double clip_norm = 0;

  // Steps that a client with this many rows takes: epochs count a last smaller batch.
  int64_t steps_for(int64_t rows) const {
    return steps > 0 ? steps : epochs * ((rows + batch_rows - 1) / batch_rows);
  }
};

}  // namespace fedclock::learning
