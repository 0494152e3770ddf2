// Hyper-parameters of local training.
#pragma once

#include <cstdint>

namespace fedclock::learning {

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
