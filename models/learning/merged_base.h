// A base to which something was added for good (FLoRA): W + merged in place of W.
#pragma once

#include "models/learning/learning_task.h"

namespace fedclock::learning {

// The task with the base that a state asks for: each "layers.N.<target>.merged" [out, in] of it is
// added to that map's frozen weight. The task itself where the state has none; else the layers'
// groups of maps concerned are laid out anew, and all else is shared.
LearningTask with_merged(const LearningTask& task, const nn::TensorMap& state);

// The same state without merged tensors: beside the adapter's own rows and columns another pair, of
// rank min(in, out), whose product is `merged` exactly:
//   out <= in   B' = [B, I], A' = [A; merged / scale]
//   out > in    B' = [B, merged / scale], A' = [A; I]
nn::TensorMap with_merged_as_adapters(const nn::TensorMap& state, double scale);

}  // namespace fedclock::learning
