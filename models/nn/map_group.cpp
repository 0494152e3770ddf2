#include "models/nn/map_group.h"

#include <algorithm>

#include "models/common/error.h"
#include "models/nn/torch.h"

namespace fedclock::nn {

namespace {

const at::Tensor* find(const TensorMap& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : &found->second;
}

}  // namespace

Matrix matrix_of(const at::Tensor& tensor) {
  ensure(tensor.is_contiguous() && tensor.dim() == 2 && tensor.scalar_type() == at::kFloat,
         "an adapter's tensors are contiguous float32 matrices");
  return {tensor.data_ptr<float>(), tensor.size(0), tensor.size(1)};
}

MapGroup::MapGroup(const Architecture& architecture, int64_t layer, std::vector<Target> targets,
                   const TensorMap& weights, Precision precision)
    : layer_(layer) {
  for (const Target target : targets) {
    const auto shape = linear_shape(architecture, target);
    if (!shape) continue;
    maps_.push_back({target, out_, shape->out});
    in_ = shape->in;
    out_ += shape->out;
  }
  by_input_.resize(static_cast<size_t>(in_ * out_));
  by_output_.resize(static_cast<size_t>(in_ * out_));
  for (const Map& map : maps_) {
    const std::string name = layer_tensor(layer, target_name(map.target));
    const at::Tensor weight = weights.at(name + ".weight").contiguous();  // [out, in]
    const float* w = weight.data_ptr<float>();
    std::copy_n(w, map.out * in_, by_output_.data() + map.first * in_);
    for (int64_t o = 0; o < map.out; ++o) {
      for (int64_t i = 0; i < in_; ++i) by_input_[i * out_ + map.first + o] = w[o * in_ + i];
    }
    if (const at::Tensor* bias = find(weights, name + ".bias")) {
      bias_.resize(static_cast<size_t>(out_), 0.0F);
      std::copy_n(bias->contiguous().data_ptr<float>(), map.out, bias_.data() + map.first);
    }
  }
  if (precision == Precision::kFp32) return;
  forward_bf16_.emplace(forward_weights());
  backward_bf16_.emplace(backward_weights());
  by_input_ = {};
  by_output_ = {};
}

void MapGroup::forward(const Matrix& x, Matrix y, Arena& arena) const {
  if (rounded()) return forward_bf16_->multiply(x, y, Onto::kNothing, arena);
  multiply(x, forward_weights(), y);
}

void MapGroup::input_gradient(const Matrix& d_y, Matrix d_x, Onto onto, Arena& arena) const {
  if (rounded()) return backward_bf16_->multiply(d_y, d_x, onto, arena);
  multiply(d_y, backward_weights(), d_x, 1, onto);
}

}  // namespace fedclock::nn
