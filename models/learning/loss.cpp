#include "models/learning/loss.h"

#include <algorithm>

#include "models/common/error.h"
#include "models/nn/passes.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

using nn::Matrix;
using nn::matrix_of;

// States whose vocabulary scores exist at the same time.
constexpr int64_t kStatesAtOnce = 256;

// What the head sees of each row [rows, width].
Matrix pooled(nn::Kind kind, const nn::PackedRows& rows, const Matrix& hidden, nn::Arena& arena) {
  const Matrix states = arena.matrix(rows.rows(), hidden.columns);
  for (int64_t r = 0; r < rows.rows(); ++r) {
    const int64_t begin = rows.offsets[r], end = rows.offsets[r + 1];
    float* state = states.row_range(r, 1).data;
    std::copy_n(hidden.row_range(end - 1, 1).data, hidden.columns, state);
    if (kind == nn::Kind::kDecoder) continue;
    for (int64_t t = begin; t + 1 < end; ++t) {
      nn::add_bias(1, hidden.columns, hidden.row_range(t, 1).data, state);
    }
    const float share = 1.0F / static_cast<float>(end - begin);
    for (int64_t i = 0; i < hidden.columns; ++i) state[i] *= share;
  }
  return states;
}

void pooled_backward(nn::Kind kind, const nn::PackedRows& rows, const Matrix& d_states,
                     Matrix d_hidden) {
  std::fill_n(d_hidden.data, d_hidden.rows * d_hidden.columns, 0.0F);
  for (int64_t r = 0; r < rows.rows(); ++r) {
    const int64_t begin = rows.offsets[r], end = rows.offsets[r + 1];
    const float* d = d_states.row_range(r, 1).data;
    if (kind == nn::Kind::kDecoder) {
      std::copy_n(d, d_hidden.columns, d_hidden.row_range(end - 1, 1).data);
      continue;
    }
    const float share = 1.0F / static_cast<float>(end - begin);
    for (int64_t t = begin; t < end; ++t) {
      float* to = d_hidden.row_range(t, 1).data;
      for (int64_t i = 0; i < d_hidden.columns; ++i) to[i] = d[i] * share;
    }
  }
}

// columns <- or += the sum of the rows
void sum_rows(const Matrix& values, nn::Onto onto, float* columns) {
  if (onto == nn::Onto::kNothing) std::fill_n(columns, values.columns, 0.0F);
  for (int64_t r = 0; r < values.rows; ++r) {
    nn::add_bias(1, values.columns, values.row_range(r, 1).data, columns);
  }
}

// Rows [n, width] of the states that the targets are predicted from.
Matrix gathered(const Examples& examples, const Matrix& hidden, nn::Arena& arena) {
  const auto count = static_cast<int64_t>(examples.targets.size());
  const Matrix states = arena.matrix(count, hidden.columns);
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(hidden.row_range(examples.places[i], 1).data, hidden.columns,
                states.row_range(i, 1).data);
  }
  return states;
}

TargetLosses losses_of(const nn::Trunk& trunk, const nn::TensorMap& tensors,
                       const Examples& examples, const Matrix& hidden, double weight,
                       const ReadoutGradients* gradients, nn::Arena& arena) {
  const nn::Arena::Mark mark = arena.mark();
  const Readout readout(trunk, tensors, examples, hidden, arena);
  const int64_t count = readout.targets(), most = std::min(readout.at_once(), count);
  const Matrix all_scores = arena.matrix(most, readout.columns());
  TargetLosses result;
  result.losses.resize(examples.targets.size());
  for (int64_t first = 0; first < count; first += most) {
    const Matrix scores = all_scores.row_range(0, std::min(most, count - first));
    readout.scores(first, scores);
    result.correct += nn::cross_entropy(
        scores.rows, scores.columns, examples.targets.data() + first, static_cast<float>(weight),
        gradients != nullptr, scores.data, result.losses.data() + first);
    if (gradients != nullptr) readout.backward(first, scores, *gradients, arena);
  }
  arena.rewind(mark);
  return result;
}

}  // namespace

Examples make_examples(std::span<const EncodedRow* const> rows, bool responses) {
  Examples examples;
  for (size_t r = 0; r < rows.size(); ++r) {
    const EncodedRow& row = *rows[r];
    const int64_t first = examples.rows.tokens();
    examples.rows.add(row.ids, row.types);
    if (!responses) {
      examples.targets.push_back(row.label);
      continue;
    }
    ensure(row.response_begin >= 1, "a row without a response in a language-modelling batch");
    for (auto t = static_cast<size_t>(row.response_begin); t < row.ids.size(); ++t) {
      examples.targets.push_back(row.ids[t]);
      examples.places.push_back(first + static_cast<int64_t>(t) - 1);
      examples.row_of.push_back(static_cast<int32_t>(r));
    }
  }
  return examples;
}

Readout::Readout(const nn::Trunk& trunk, const nn::TensorMap& tensors, const Examples& examples,
                 const Matrix& hidden, nn::Arena& arena)
    : kind_(trunk.architecture().kind), examples_(examples) {
  if (examples.has_responses()) {
    states_ = gathered(examples, hidden, arena);
    weights_ = trunk.output_embedding();
  } else {
    states_ = pooled(kind_, examples.rows, hidden, arena);
    weights_ = matrix_of(tensors.at("head.weight"));
    bias_ = tensors.at("head.bias").data_ptr<float>();
  }
}

int64_t Readout::at_once() const {
  return examples_.has_responses() ? kStatesAtOnce : std::max<int64_t>(1, targets());
}

void Readout::scores(int64_t first, const Matrix& scores) const {
  multiply(states_.row_range(first, scores.rows), weights_.t(), scores);
  if (bias_ != nullptr) nn::add_bias(scores.rows, scores.columns, bias_, scores.data);
}

void Readout::backward(int64_t first, const Matrix& d_scores, const ReadoutGradients& gradients,
                       nn::Arena& arena) const {
  const nn::Arena::Mark mark = arena.mark();
  const Matrix& d_hidden = gradients.d_hidden;
  const Matrix d_states = arena.matrix(d_scores.rows, states_.columns);
  multiply(d_scores, weights_, d_states);
  if (examples_.has_responses()) {
    if (first == 0) std::fill_n(d_hidden.data, d_hidden.rows * d_hidden.columns, 0.0F);
    for (int64_t i = 0; i < d_states.rows; ++i) {
      std::copy_n(d_states.row_range(i, 1).data, d_states.columns,
                  d_hidden.row_range(examples_.places[first + i], 1).data);
    }
  } else {
    const auto weight = gradients.of_tensors.find("head.weight");
    if (weight != gradients.of_tensors.end()) {
      multiply(d_scores.t(), states_, matrix_of(weight->second), 1, gradients.onto);
    }
    const auto bias = gradients.of_tensors.find("head.bias");
    if (bias != gradients.of_tensors.end()) {
      sum_rows(d_scores, gradients.onto, bias->second.data_ptr<float>());
    }
    pooled_backward(kind_, examples_.rows, d_states, d_hidden);
  }
  arena.rewind(mark);
}

TargetLosses target_losses(const nn::Trunk& trunk, const nn::TensorMap& tensors,
                           const Examples& examples, const Matrix& hidden, nn::Arena& arena) {
  return losses_of(trunk, tensors, examples, hidden, 0, nullptr, arena);
}

TargetLosses target_losses_backward(const nn::Trunk& trunk, const nn::TensorMap& tensors,
                                    const Examples& examples, const Matrix& hidden, double weight,
                                    const ReadoutGradients& gradients, nn::Arena& arena) {
  return losses_of(trunk, tensors, examples, hidden, weight, &gradients, arena);
}

}  // namespace fedclock::learning
