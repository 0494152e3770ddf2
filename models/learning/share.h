// A part of a model's adapters and head: what a client holds, trains, receives or sends.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <vector>

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
  bool head = true;            // the linear head, where there is one

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
