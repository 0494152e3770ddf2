// The architecture and plan on which the cost tests' figures are worked out by hand.
#pragma once

#include "models/cost/plan.h"
#include "models/nn/architecture.h"

namespace fedclock::cost::testing {

// L = 2, width 4, 2 heads of 2, inner width 8: a layer's maps have 4 x 16 + 2 x 32 = 128 weights.
inline nn::Architecture tiny_encoder() {
  return nn::bert_architecture(/*layers=*/2, /*width=*/4, /*heads=*/2, /*ffn_width=*/8,
                               /*max_tokens=*/8, /*vocabulary=*/10);
}

// 2 rows of 3 tokens (T = 6), rank 2 on q and v, 3 classes.
inline TrainingPlan tiny_plan(int64_t depth) {
  TrainingPlan plan;
  plan.depth = depth;
  plan.rank = 2;
  plan.targets = {nn::Target::kQ, nn::Target::kV};
  plan.batch_rows = 2;
  plan.sequence_tokens = 3;
  plan.head_outputs = 3;
  return plan;
}

}  // namespace fedclock::cost::testing
