// A part of a model's adapters and head: what a client holds, trains, receives or sends.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <iterator>
#include <vector>

#include "models/nn/architecture.h"

namespace fedclock::learning {

// Raises each layer's rank to that of `more`, where it is larger.
inline void widen(std::vector<int64_t>& ranks, const std::vector<int64_t>& more) {
  for (size_t layer = 0; layer < ranks.size(); ++layer) {
    ranks[layer] = std::max(ranks[layer], more[layer]);
  }
}

struct Share {
  std::vector<int64_t> ranks;  // of each layer's adapters, from the first layer on; 0: none
  bool a = true, b = true;     // which factors of them: A [rank, in], B [out, rank]
  bool head = true;            // the linear head and the soft prompt, where there are such
  // In layers that have a rank: whether it has the adapters that all tokens share; beside them
  // experts, ascending, and the routers of the modules that have some.
  bool shared = true;
  nn::ModuleExperts experts = {};
  bool routers = true;
  // Experts of these modules besides that are computed with and not trained: no tensors of it.
  int64_t frozen_experts = 0;

  auto operator<=>(const Share&) const = default;

  // Layers from the lowest that it has to the output, those between included.
  int64_t depth() const {
    for (size_t layer = 0; layer < ranks.size(); ++layer) {
      if (ranks[layer] > 0) return static_cast<int64_t>(ranks.size() - layer);
    }
    return 0;
  }
  int64_t layers() const {
    int64_t count = 0;
    for (const int64_t rank : ranks) count += rank > 0;
    return count;
  }

  bool has_experts(const nn::Module& module) const { return experts.contains(module); }
  bool has_expert(const nn::Module& module, int32_t expert) const {
    const auto of = experts.find(module);
    return of != experts.end() && std::ranges::binary_search(of->second, expert);
  }

  // To all that either has.
  void widen(const Share& more) {
    if (ranks.empty()) {
      *this = more;
      return;
    }
    learning::widen(ranks, more.ranks);
    a = a || more.a;
    b = b || more.b;
    head = head || more.head;
    shared = shared || more.shared;
    routers = routers || more.routers;
    frozen_experts = std::max(frozen_experts, more.frozen_experts);
    for (const auto& [module, others] : more.experts) {
      std::vector<int32_t>& own = experts[module];
      std::vector<int32_t> both;
      std::ranges::set_union(own, others, std::back_inserter(both));
      own = std::move(both);
    }
  }
};

// Adapters of one rank in the last `depth` of so many layers.
inline Share last_layers(int64_t layers, int64_t depth, int64_t rank) {
  Share share;
  share.ranks.assign(static_cast<size_t>(layers), 0);
  for (int64_t layer = layers - depth; layer < layers; ++layer) {
    share.ranks[static_cast<size_t>(layer)] = rank;
  }
  return share;
}

}  // namespace fedclock::learning
