#include "models/learning/loss.h"

#include <algorithm>

#include "models/common/error.h"
#include "models/nn/passes.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

using nn::Matrix;
using nn::matrix_of;

// States whose vocabulary scores exist at the same time: bounds the memory of large vocabularies.
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

// Where gradients go; none: losses alone.
struct Gradients {
  float weight;
  Matrix d_hidden;
  nn::TensorMap& of_tensors;
  nn::Onto onto;
};

TargetLosses classes(const nn::Trunk& trunk, const nn::TensorMap& tensors, const Examples& examples,
                     const Matrix& hidden, const Gradients* gradients, nn::Arena& arena) {
  const nn::Kind kind = trunk.architecture().kind;
  const Matrix head = matrix_of(tensors.at("head.weight"));  // [classes, width]
  const Matrix states = pooled(kind, examples.rows, hidden, arena);
  const Matrix scores = arena.matrix(states.rows, head.rows);
  multiply(states, head.t(), scores);
  nn::add_bias(scores.rows, scores.columns, tensors.at("head.bias").data_ptr<float>(), scores.data);
  TargetLosses result;
  result.losses.resize(examples.targets.size());
  result.correct = nn::cross_entropy(scores.rows, scores.columns, examples.targets.data(),
                                     gradients == nullptr ? 0 : gradients->weight,
                                     gradients != nullptr, scores.data, result.losses.data());
  if (gradients == nullptr) return result;
  const auto found = gradients->of_tensors.find("head.weight");
  if (found != gradients->of_tensors.end()) {
    multiply(scores.t(), states, matrix_of(found->second), 1, gradients->onto);
  }
  const auto bias = gradients->of_tensors.find("head.bias");
  if (bias != gradients->of_tensors.end()) {
    sum_rows(scores, gradients->onto, bias->second.data_ptr<float>());
  }
  const Matrix d_states = arena.matrix(states.rows, states.columns);
  multiply(scores, head, d_states);
  pooled_backward(kind, examples.rows, d_states, gradients->d_hidden);
  return result;
}

TargetLosses responses(const nn::Trunk& trunk, const Examples& examples, const Matrix& hidden,
                       const Gradients* gradients, nn::Arena& arena) {
  const nn::ConstMatrix embedding = trunk.output_embedding();  // [vocabulary, width]
  const auto count = static_cast<int64_t>(examples.targets.size());
  TargetLosses result;
  result.losses.resize(examples.targets.size());
  if (gradients != nullptr) {
    std::fill_n(gradients->d_hidden.data, hidden.rows * hidden.columns, 0.0F);
  }
  const int64_t most = std::min(kStatesAtOnce, count);
  const Matrix all_states = arena.matrix(most, hidden.columns);
  const Matrix all_scores = arena.matrix(most, embedding.rows);
  for (int64_t begin = 0; begin < count; begin += kStatesAtOnce) {
    const int64_t n = std::min(kStatesAtOnce, count - begin);
    const Matrix states = all_states.row_range(0, n), scores = all_scores.row_range(0, n);
    for (int64_t i = 0; i < n; ++i) {
      std::copy_n(hidden.row_range(examples.places[begin + i], 1).data, hidden.columns,
                  states.row_range(i, 1).data);
    }
    multiply(states, embedding.t(), scores);
    result.correct +=
        nn::cross_entropy(n, scores.columns, examples.targets.data() + begin,
                          gradients == nullptr ? 0 : gradients->weight, gradients != nullptr,
                          scores.data, result.losses.data() + begin);
    if (gradients == nullptr) continue;
    multiply(scores, embedding, states);  // the states' gradients
    for (int64_t i = 0; i < n; ++i) {
      std::copy_n(states.row_range(i, 1).data, hidden.columns,
                  gradients->d_hidden.row_range(examples.places[begin + i], 1).data);
    }
  }
  return result;
}

TargetLosses losses_of(const nn::Trunk& trunk, const nn::TensorMap& tensors,
                       const Examples& examples, const Matrix& hidden, const Gradients* gradients,
                       nn::Arena& arena) {
  const nn::Arena::Mark mark = arena.mark();
  TargetLosses result = examples.has_responses()
                            ? responses(trunk, examples, hidden, gradients, arena)
                            : classes(trunk, tensors, examples, hidden, gradients, arena);
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

TargetLosses target_losses(const nn::Trunk& trunk, const nn::TensorMap& tensors,
                           const Examples& examples, const Matrix& hidden, nn::Arena& arena) {
  return losses_of(trunk, tensors, examples, hidden, nullptr, arena);
}

TargetLosses target_losses_backward(const nn::Trunk& trunk, const nn::TensorMap& tensors,
                                    const Examples& examples, const Matrix& hidden, double weight,
                                    Matrix d_hidden, nn::TensorMap& gradients,
                                    nn::Onto gradients_onto, nn::Arena& arena) {
  const Gradients wanted{static_cast<float>(weight), d_hidden, gradients, gradients_onto};
  return losses_of(trunk, tensors, examples, hidden, &wanted, arena);
}

}  // namespace fedclock::learning
