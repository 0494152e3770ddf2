// The tensors of a state along their rank, so that those of adapters of different ranks are walked
// together: A [rank, in] as [1, rank, in], B [out, rank] as [out, rank, 1], any other as
// [1, 1, size]. What lies beyond a tensor's own rank it does not have.
#pragma once

#include <string>
#include <vector>

#include "models/common/error.h"
#include "models/learning/adapter_names.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

struct Place {
  int64_t outer = 0, rank = 0, inner = 0;
};

class Ranked {
 public:
  // Of an absent tensor: has nothing.
  Ranked() = default;
  // Must outlive this; contiguous float32.
  Ranked(TensorKind kind, const at::Tensor& tensor)
      : kind_(kind), sizes_(tensor.sizes().vec()), data_(tensor.data_ptr<float>()) {
    ensure(tensor.is_contiguous(), "a state's tensors are contiguous");
    if (kind == TensorKind::kA || kind == TensorKind::kB) {
      ensure(tensor.dim() == 2, "an adapter's tensors are matrices");
      const bool a = kind == TensorKind::kA;
      outer_ = a ? 1 : tensor.size(0);
      rank_ = tensor.size(a ? 0 : 1);
      inner_ = a ? tensor.size(1) : 1;
    } else {
      outer_ = rank_ = 1;
      inner_ = tensor.numel();
    }
  }
  // The tensor `prefix + name` of a state, `name` telling its kind; absent where it has none.
  static Ranked of(const nn::TensorMap& state, const std::string& name,
                   const std::string& prefix = "") {
    const auto found = state.find(prefix + name);
    if (found == state.end()) return {};
    return {parse_tensor_name(name).kind, found->second};
  }

  bool absent() const { return data_ == nullptr; }
  int64_t outer() const { return outer_; }
  int64_t rank() const { return rank_; }
  int64_t inner() const { return inner_; }

  bool has(const Place& p) const { return p.rank < rank_; }
  double at(const Place& p) const { return data_[(p.outer * rank_ + p.rank) * inner_ + p.inner]; }
  double at_or(const Place& p, double absent) const { return has(p) ? at(p) : absent; }

  // ProgrammerError unless they differ in rank at most.
  void check_fits(const Ranked& other) const {
    if (absent() || other.absent()) return;
    ensure(kind_ == other.kind_ && outer_ == other.outer_ && inner_ == other.inner_ &&
               sizes_.size() == other.sizes_.size(),
           "tensors of different shapes are put together");
  }

  // A tensor like this one of that rank, each element value(place).
  template <class Value>
  at::Tensor make(int64_t rank, const Value& value) const {
    std::vector<int64_t> sizes = sizes_;
    if (kind_ == TensorKind::kA) sizes[0] = rank;
    if (kind_ == TensorKind::kB) sizes[1] = rank;
    at::Tensor result = at::empty(sizes, at::kFloat);
    float* out = result.data_ptr<float>();
    for (int64_t o = 0; o < outer_; ++o) {
      for (int64_t r = 0; r < rank; ++r) {
        for (int64_t i = 0; i < inner_; ++i) *out++ = static_cast<float>(value(Place{o, r, i}));
      }
    }
    return result;
  }
  template <class Value>
  at::Tensor make(const Value& value) const {
    return make(rank_, value);
  }

 private:
  TensorKind kind_ = TensorKind::kOther;
  std::vector<int64_t> sizes_;
  const float* data_ = nullptr;
  int64_t outer_ = 0, rank_ = 0, inner_ = 0;
};

}  // namespace fedclock::learning
