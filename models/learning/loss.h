// What is asked of a batch: the class of each row, or the tokens of its response; and the cross
// entropy of the answers, forward and backward.
#pragma once

#include <span>
#include <vector>

#include "models/learning/encoded.h"
#include "models/nn/arena.h"
#include "models/nn/tensor_map.h"
#include "models/nn/trunk.h"

namespace fedclock::learning {

// Rows without padding, with their targets.
struct Examples {
  nn::PackedRows rows;
  std::vector<int32_t> targets;  // each row's class, or the response tokens of all rows
  // With responses, of each target: the token whose state predicts it, and its row.
  std::vector<int64_t> places;
  std::vector<int32_t> row_of;

  bool has_responses() const { return !places.empty(); }
};

Examples make_examples(std::span<const EncodedRow* const> rows, bool responses);

// Each target's loss, -log p, and how many targets score highest.
struct TargetLosses {
  std::vector<double> losses;  // nats
  int64_t correct = 0;
};

// hidden [tokens, width] -> losses by the head in `tensors` ("head.weight" [classes, width],
// "head.bias" [classes]), on the mean of each row's states (encoder) or its last one (decoder); or,
// with responses, by the output embedding.
TargetLosses target_losses(const nn::Trunk& trunk, const nn::TensorMap& tensors,
                           const Examples& examples, const nn::Matrix& hidden, nn::Arena& arena);

// The same, and the gradients of `weight` times the sum of the losses: d_hidden [tokens, width] is
// overwritten, the head's are written or added where `gradients` has them by name.
TargetLosses target_losses_backward(const nn::Trunk& trunk, const nn::TensorMap& tensors,
                                    const Examples& examples, const nn::Matrix& hidden,
                                    double weight, nn::Matrix d_hidden, nn::TensorMap& gradients,
                                    nn::Onto gradients_onto, nn::Arena& arena);

}  // namespace fedclock::learning
