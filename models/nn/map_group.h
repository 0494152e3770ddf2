// The linear maps of a layer that read the same input, as one product: q, k and v; o; up and gate;
// down. Frozen weights, and LoRA adapters (2106.09685) on some of them:
//   y = x (W + s B A)^T + bias,  s = alpha / rank,
//   dB = s dy^T (x A^T),  dA = s (dy B)^T x,  dx = dy (W + s B A).
// No gradient of W is ever computed. Where a product has many rows, W + s B A is formed first (a
// small product) and the adapters cost nothing more; with few rows they are applied beside W.
#pragma once

#include <optional>
#include <vector>

#include "models/nn/architecture.h"
#include "models/nn/arena.h"
#include "models/nn/bf16_product.h"
#include "models/nn/matrix.h"
#include "models/nn/precision.h"
#include "models/nn/tensor_map.h"

namespace fedclock::nn {

// A view of an adapter's or a head's tensor. ProgrammerError unless it is a contiguous float32
// matrix.
Matrix matrix_of(const at::Tensor& tensor);

// The frozen part, shared by all who compute with it.
class MapGroup {
 public:
  // The maps among `targets` that the architecture has, of this layer.
  MapGroup(const Architecture& architecture, int64_t layer, std::vector<Target> targets,
           const TensorMap& weights, Precision precision);

  struct Map {
    Target target = Target::kQ;
    int64_t first = 0, out = 0;  // its columns of the group's output
  };
  const std::vector<Map>& maps() const { return maps_; }
  int64_t layer() const { return layer_; }
  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  const float* bias() const { return bias_.empty() ? nullptr : bias_.data(); }  // [out]

  // [in, out] and [out, in]: float32 only.
  ConstMatrix forward_weights() const { return {by_input_.data(), in_, out_, out_, false}; }
  ConstMatrix backward_weights() const { return {by_output_.data(), out_, in_, in_, false}; }
  // Rounded ones, made once: bf16 only.
  bool rounded() const { return forward_bf16_.has_value(); }

  // y <- x W^T and d_x (+)= d_y W, in either precision.
  void forward(const Matrix& x, Matrix y, Arena& arena) const;
  void input_gradient(const Matrix& d_y, Matrix d_x, Onto onto, Arena& arena) const;

 private:
  int64_t layer_, in_ = 0, out_ = 0;
  std::vector<Map> maps_;
  // W^T and W: products with both run without transposing on the way.
  std::vector<float> by_input_, by_output_, bias_;
  std::optional<Bf16Weights> forward_bf16_, backward_bf16_;
};

// One client's adapters on a group.
class GroupAdapters {
 public:
  // Looks up "layers.N.<target>.lora_a" and "lora_b" among `tensors`, which must outlive this.
  GroupAdapters(const MapGroup& group, double scale, const TensorMap& tensors);

  // y [n, out] <- x [n, in] times the adapted weights; without the bias.
  void forward(const Matrix& x, Matrix y, Arena& arena) const;

  // d_x (+)= d_y times the adapted weights.
  void input_gradient(const Matrix& d_y, Matrix d_x, Onto onto, Arena& arena) const;

  // Whether `gradients` has one of its tensors by name.
  bool wants(const TensorMap& gradients) const;

  // The gradients of those adapter tensors that `gradients` has by name, written or added there.
  void adapter_gradients(const Matrix& x, const Matrix& d_y, TensorMap& gradients, Onto onto,
                         Arena& arena) const;

 private:
  struct Pair {
    MapGroup::Map map;
    std::string name_a, name_b;
    Matrix a, b;  // [rank, in], [out of the map, rank]
  };

  bool worth_merging(int64_t rows) const;
  Matrix reduced(const Matrix& x, Arena& arena) const;             // x A^T of all pairs [n, ranks]
  Matrix reduced_gradient(const Matrix& d_y, Arena& arena) const;  // s dy B of all pairs [n, ranks]

  const MapGroup* group_;
  float scale_;
  std::vector<Pair> pairs_;
  int64_t ranks_ = 0;  // of all pairs together
};

}  // namespace fedclock::nn
