// A base to which something was added for good (FLoRA): W + merged in place of W.
#pragma once

#include "models/learning/learning_task.h"

namespace fedclock::learning {

// The task with the base that a state asks for: each "layers.N.<target>.merged" [out, in] of it is
// added to that map's frozen weight. The task itself where the state has none; else the layers'
// groups of maps concerned are laid out anew, and all else is shared.
LearningTask with_merged(const LearningTask& task, const nn::TensorMap& state);

}  // namespace fedclock::learning
