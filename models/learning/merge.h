// Aggregation of adapter states: the arithmetic alone.
#pragma once

#include <vector>

#include "models/nn/tensor_map.h"

namespace fedclock::learning {

// theta <- sum_i w_i theta_i with weights summing to 1, in the order given, in double precision.
nn::TensorMap weighted_mean(const std::vector<const nn::TensorMap*>& states,
                            const std::vector<double>& weights);

}  // namespace fedclock::learning
