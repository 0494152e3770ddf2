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

// to [n, m] <- from [m, n], or + from.
void transpose(const Matrix& from, Matrix to, Onto onto) {
  for (int64_t r = 0; r < to.rows; ++r) {
    float* row = to.row_range(r, 1).data;
    for (int64_t c = 0; c < to.columns; ++c) {
      const float value = from.data[c * from.stride + r];
      row[c] = onto == Onto::kItself ? row[c] + value : value;
    }
  }
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

GroupAdapters::GroupAdapters(const MapGroup& group, double scale, const TensorMap& tensors)
    : group_(&group), scale_(static_cast<float>(scale)) {
  for (const MapGroup::Map& map : group.maps()) {
    const std::string name = layer_tensor(group.layer(), target_name(map.target));
    const at::Tensor* a = find(tensors, name + ".lora_a");
    if (a == nullptr) continue;
    pairs_.push_back({map, name + ".lora_a", name + ".lora_b", matrix_of(*a),
                      matrix_of(tensors.at(name + ".lora_b"))});
    ranks_ += a->size(0);
  }
}

bool GroupAdapters::worth_merging(int64_t rows) const {
  // What small adapters add to a weight would be lost in rounding it.
  if (group_->rounded()) return false;
  // Merging touches in x out weights; applying beside W touches rows x (in + out) activations.
  return rows * (group_->in() + group_->out()) >= group_->in() * group_->out();
}

Matrix GroupAdapters::reduced(const Matrix& x, Arena& arena) const {
  const Matrix all_a = arena.matrix(ranks_, group_->in());
  const Matrix result = arena.matrix(x.rows, ranks_);
  int64_t at = 0;
  for (const Pair& pair : pairs_) {
    std::copy_n(pair.a.data, pair.a.rows * pair.a.columns, all_a.row_range(at, 0).data);
    at += pair.a.rows;
  }
  multiply(x, all_a.t(), result);
  return result;
}

Matrix GroupAdapters::reduced_gradient(const Matrix& d_y, Arena& arena) const {
  const Matrix result = arena.matrix(d_y.rows, ranks_);
  int64_t at = 0;
  for (const Pair& pair : pairs_) {
    multiply(d_y.column_range(pair.map.first, pair.map.out), pair.b,
             result.column_range(at, pair.b.columns), scale_);
    at += pair.b.columns;
  }
  return result;
}

void GroupAdapters::forward(const Matrix& x, Matrix y, Arena& arena) const {
  if (pairs_.empty()) return group_->forward(x, y, arena);
  const Arena::Mark mark = arena.mark();
  if (worth_merging(x.rows)) {
    const ConstMatrix frozen = group_->forward_weights();  // [in, out]
    const Matrix merged = arena.matrix(frozen.rows, frozen.columns);
    std::copy_n(frozen.data, frozen.rows * frozen.columns, merged.data);
    for (const Pair& pair : pairs_) {
      multiply(pair.a.t(), pair.b.t(), merged.column_range(pair.map.first, pair.map.out), scale_,
               Onto::kItself);
    }
    multiply(x, merged, y);
  } else {
    group_->forward(x, y, arena);
    const Matrix low = reduced(x, arena);
    int64_t at = 0;
    for (const Pair& pair : pairs_) {
      multiply(low.column_range(at, pair.a.rows), pair.b.t(),
               y.column_range(pair.map.first, pair.map.out), scale_, Onto::kItself);
      at += pair.a.rows;
    }
  }
  arena.rewind(mark);
}

void GroupAdapters::input_gradient(const Matrix& d_y, Matrix d_x, Onto onto, Arena& arena) const {
  if (pairs_.empty()) return group_->input_gradient(d_y, d_x, onto, arena);
  const Arena::Mark mark = arena.mark();
  if (worth_merging(d_y.rows)) {
    const ConstMatrix frozen = group_->backward_weights();  // [out, in]
    const Matrix merged = arena.matrix(frozen.rows, frozen.columns);
    std::copy_n(frozen.data, frozen.rows * frozen.columns, merged.data);
    for (const Pair& pair : pairs_) {
      multiply(pair.b, pair.a, merged.row_range(pair.map.first, pair.map.out), scale_,
               Onto::kItself);
    }
    multiply(d_y, merged, d_x, 1, onto);
  } else {
    group_->input_gradient(d_y, d_x, onto, arena);
    const Matrix low = reduced_gradient(d_y, arena);
    int64_t at = 0;
    for (const Pair& pair : pairs_) {
      multiply(low.column_range(at, pair.a.rows), pair.a, d_x, 1, Onto::kItself);
      at += pair.a.rows;
    }
  }
  arena.rewind(mark);
}

bool GroupAdapters::wants(const TensorMap& gradients) const {
  return std::ranges::any_of(pairs_, [&](const Pair& pair) {
    return gradients.contains(pair.name_a) || gradients.contains(pair.name_b);
  });
}

void GroupAdapters::adapter_gradients(const Matrix& x, const Matrix& d_y, TensorMap& gradients,
                                      Onto onto, Arena& arena) const {
  const auto wanted = [&](const std::string& name) { return gradients.contains(name); };
  const bool some_a = std::ranges::any_of(pairs_, wanted, &Pair::name_a);
  const bool some_b = std::ranges::any_of(pairs_, wanted, &Pair::name_b);
  const Arena::Mark mark = arena.mark();
  if (some_b) {
    const Matrix low = reduced(x, arena);
    int64_t at = 0;
    for (const Pair& pair : pairs_) {
      if (wanted(pair.name_b)) {
        // B's gradient turned over: a product with few rows is fast, one with few columns is not.
        const Matrix turned = arena.matrix(pair.b.columns, pair.b.rows);
        multiply(low.column_range(at, pair.a.rows).t(),
                 d_y.column_range(pair.map.first, pair.map.out), turned, scale_);
        transpose(turned, matrix_of(gradients.at(pair.name_b)), onto);
      }
      at += pair.a.rows;
    }
  }
  if (some_a) {
    const Matrix low = reduced_gradient(d_y, arena);
    int64_t at = 0;
    for (const Pair& pair : pairs_) {
      if (wanted(pair.name_a)) {
        multiply(low.column_range(at, pair.a.rows).t(), x, matrix_of(gradients.at(pair.name_a)), 1,
                 onto);
      }
      at += pair.a.rows;
    }
  }
  arena.rewind(mark);
}

}  // namespace fedclock::nn
