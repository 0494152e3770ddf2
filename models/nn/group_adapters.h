// One client's adapters on a group of maps: LoRA (2106.09685),
//   y = x (W + s B A)^T + bias,  s = alpha / rank,
//   dB = s dy^T (x A^T),  dA = s (dy B)^T x,  dx = dy (W + s B A),
// and mixtures of experts beside them (group_mixtures.h). Where a product has many rows, W + s B A
// is formed first (a small product) and the adapters cost nothing more; with few rows they are
// applied beside W.
#pragma once

#include <string>
#include <vector>

#include "models/nn/group_mixtures.h"
#include "models/nn/map_group.h"
#include "models/nn/tensor_map.h"

namespace fedclock::nn {

class GroupAdapters {
 public:
  // Looks up "layers.N.<target>.lora_a" and "lora_b" among `tensors`, which must outlive this.
  GroupAdapters(const MapGroup& group, const AdapterSpec& spec, const TensorMap& tensors);

  // y [n, out] <- x [n, in] times the adapted weights; without the bias. The tape is that of its
  // mixtures: none where no backward pass follows.
  void forward(const Matrix& x, Matrix y, Arena& arena, MixtureTape* tape = nullptr) const;

  // Whether `gradients` has one of its tensors by name.
  bool wants(const TensorMap& gradients) const;

  const GroupMixtures& mixtures() const { return mixtures_; }

  // The gradients of those tensors that `gradients` has by name, written or added there, of the
  // loss plus `balance` times the mixtures' load-balance losses.
  void adapter_gradients(const Matrix& x, const Matrix& d_y, float balance, TensorMap& gradients,
                         Onto onto, MixtureTape& tape, Arena& arena) const;

  // After these, d_x (+)= d_y times the adapted weights.
  void input_gradient(const Matrix& d_y, Matrix d_x, Onto onto, const MixtureTape& tape,
                      Arena& arena) const;

 private:
  struct Pair {
    MapGroup::Map map;
    std::string name_a, name_b;
    Matrix a, b;  // [rank, in], [out of the map, rank]
  };

  bool worth_merging(int64_t rows) const;
  void plain_forward(const Matrix& x, Matrix y, Arena& arena) const;
  void plain_gradients(const Matrix& x, const Matrix& d_y, TensorMap& gradients, Onto onto,
                       Arena& arena) const;
  void plain_input_gradient(const Matrix& d_y, Matrix d_x, Onto onto, Arena& arena) const;
  Matrix reduced(const Matrix& x, Arena& arena) const;             // x A^T of all pairs [n, ranks]
  Matrix reduced_gradient(const Matrix& d_y, Arena& arena) const;  // s dy B of all pairs [n, ranks]

  const MapGroup* group_;
  float scale_;
  std::vector<Pair> pairs_;
  int64_t ranks_ = 0;  // of all pairs together
  GroupMixtures mixtures_;
};

}  // namespace fedclock::nn
