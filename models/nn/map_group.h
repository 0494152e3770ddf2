// The linear maps of a layer that read the same input, as one product of frozen weights: q, k and
// v; o; up and gate; down. No gradient of them is ever computed.
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

// Shared by all who compute with it.
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

}  // namespace fedclock::nn
