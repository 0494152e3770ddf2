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

// Where the gradients of targets go: d_hidden [tokens, width] is overwritten, the head's are
// written or added where `of_tensors` has them by name.
struct ReadoutGradients {
  nn::Matrix d_hidden;
  nn::TensorMap& of_tensors;
  nn::Onto onto;
};

// What a model says of the targets of some examples: by the head in `tensors` ("head.weight"
// [classes, width], "head.bias" [classes]), on the mean of each row's states (encoder) or its last
// one (decoder); or, with responses, by the output embedding. Its states lie in the arena; trunk,
// tensors and examples must outlive it.
class Readout {
 public:
  // hidden [tokens, width]
  Readout(const nn::Trunk& trunk, const nn::TensorMap& tensors, const Examples& examples,
          const nn::Matrix& hidden, nn::Arena& arena);

  int64_t targets() const { return states_.rows; }
  int64_t columns() const { return weights_.rows; }  // classes, or the vocabulary
  // Targets whose scores may exist at the same time: bounds the memory of large vocabularies.
  int64_t at_once() const;

  // scores [n, columns] <- those of n targets from `first` on.
  void scores(int64_t first, const nn::Matrix& scores) const;
  // The gradients of these scores. Call it for all targets, from the first on, at_once() at a time.
  void backward(int64_t first, const nn::Matrix& d_scores, const ReadoutGradients& gradients,
                nn::Arena& arena) const;

 private:
  nn::Kind kind_;
  const Examples& examples_;
  nn::Matrix states_;        // [targets, width]
  nn::ConstMatrix weights_;  // [columns, width]
  const float* bias_ = nullptr;
};

// hidden [tokens, width] -> losses.
TargetLosses target_losses(const nn::Trunk& trunk, const nn::TensorMap& tensors,
                           const Examples& examples, const nn::Matrix& hidden, nn::Arena& arena);

// The same, and the gradients of `weight` times the sum of the losses.
TargetLosses target_losses_backward(const nn::Trunk& trunk, const nn::TensorMap& tensors,
                                    const Examples& examples, const nn::Matrix& hidden,
                                    double weight, const ReadoutGradients& gradients,
                                    nn::Arena& arena);

}  // namespace fedclock::learning
