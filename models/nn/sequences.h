// Keys and values of sequences that are written on token by token: what attention reads of the
// tokens before, so that each token goes through the layers once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "models/nn/architecture.h"
#include "models/nn/matrix.h"

namespace fedclock::nn {

class Sequences {
 public:
  // So many empty ones.
  Sequences(const Architecture& architecture, int64_t count)
      : width_(2 * architecture.kv_heads * architecture.head_width),
        tokens_(static_cast<size_t>(count), 0),
        kept_(static_cast<size_t>(architecture.layers)) {
    for (auto& of_layer : kept_) of_layer.resize(static_cast<size_t>(count));
  }

  int64_t count() const { return std::ssize(tokens_); }
  // That the sequence holds.
  int64_t tokens(int64_t sequence) const { return tokens_[static_cast<size_t>(sequence)]; }

  // Keys and values [tokens, 2 kv_heads * head_width] of more tokens of a sequence in a layer:
  // those that end_pass() counts; then all of them.
  void add(int64_t layer, int64_t sequence, const Matrix& keys_and_values) {
    std::vector<float>& kept = of(layer, sequence);
    for (int64_t t = 0; t < keys_and_values.rows; ++t) {
      const float* row = keys_and_values.row_range(t, 1).data;
      kept.insert(kept.end(), row, row + width_);
    }
  }
  Matrix keys_and_values(int64_t layer, int64_t sequence) {
    std::vector<float>& kept = of(layer, sequence);
    return {kept.data(), static_cast<int64_t>(kept.size()) / width_, width_};
  }
  int64_t bytes() const {
    size_t floats = 0;
    for (const auto& of_layer : kept_) {
      for (const std::vector<float>& values : of_layer) floats += values.capacity();
    }
    return static_cast<int64_t>(floats * sizeof(float));
  }
  // All layers have seen so many more tokens of each sequence.
  void end_pass(const std::vector<int64_t>& offsets) {
    for (size_t s = 0; s < tokens_.size(); ++s) tokens_[s] += offsets[s + 1] - offsets[s];
  }

 private:
  std::vector<float>& of(int64_t layer, int64_t sequence) {
    return kept_[static_cast<size_t>(layer)][static_cast<size_t>(sequence)];
  }

  int64_t width_;
  std::vector<int64_t> tokens_;
  std::vector<std::vector<std::vector<float>>> kept_;  // [layer][sequence]
};

}  // namespace fedclock::nn
