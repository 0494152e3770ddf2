#include "models/nn/group_adapters.h"

#include <algorithm>

#include "models/common/error.h"
#include "models/nn/torch.h"

namespace fedclock::nn {

GroupAdapters::GroupAdapters(const MapGroup& group, const AdapterSpec& spec,
                             const TensorMap& tensors)
    : group_(&group),
      scale_(static_cast<float>(spec.alpha / static_cast<double>(spec.rank))),
      mixtures_(group, spec, tensors) {
  for (const MapGroup::Map& map : group.maps()) {
    const std::string name = layer_tensor(group.layer(), target_name(map.target));
    const auto a = tensors.find(name + ".lora_a");
    if (a == tensors.end()) continue;
    pairs_.push_back({map, name + ".lora_a", name + ".lora_b", matrix_of(a->second),
                      matrix_of(tensors.at(name + ".lora_b"))});
    ranks_ += a->second.size(0);
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

void GroupAdapters::forward(const Matrix& x, Matrix y, Arena& arena, MixtureTape* tape) const {
  plain_forward(x, y, arena);
  mixtures_.forward(x, y, arena, tape);
}

void GroupAdapters::adapter_gradients(const Matrix& x, const Matrix& d_y, float balance,
                                      TensorMap& gradients, Onto onto, MixtureTape& tape,
                                      Arena& arena) const {
  plain_gradients(x, d_y, gradients, onto, arena);
  mixtures_.backward(x, d_y, balance, gradients, onto, tape, arena);
}

void GroupAdapters::input_gradient(const Matrix& d_y, Matrix d_x, Onto onto,
                                   const MixtureTape& tape, Arena& arena) const {
  plain_input_gradient(d_y, d_x, onto, arena);
  mixtures_.add_input_gradient(tape, d_x, arena);
}

void GroupAdapters::plain_forward(const Matrix& x, Matrix y, Arena& arena) const {
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

void GroupAdapters::plain_input_gradient(const Matrix& d_y, Matrix d_x, Onto onto,
                                         Arena& arena) const {
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
  return mixtures_.wants(gradients) || std::ranges::any_of(pairs_, [&](const Pair& pair) {
           return gradients.contains(pair.name_a) || gradients.contains(pair.name_b);
         });
}

void GroupAdapters::plain_gradients(const Matrix& x, const Matrix& d_y, TensorMap& gradients,
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
