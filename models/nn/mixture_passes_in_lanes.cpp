// Compiled for each of the vector widths of models/nn/lanes.h; no inline function of another header
// may be left here as a symbol, as in passes_in_lanes.cpp.
#include "models/nn/mixture_passes.h"

#include <cmath>
#include <limits>

#include "models/nn/lanes.h"
#include "models/nn/passes.h"

namespace fedclock::nn::FEDCLOCK_LANES {

namespace {

inline float* row_of(const Matrix& matrix, int64_t row) {
  return matrix.data + row * matrix.stride;
}

inline float dot(int64_t size, const float* a, const float* b) {
  Vector total = all(0);
  in_lanes(size, [&](int64_t i, auto lanes) {
    total = fma(load(a + i, lanes), load(b + i, lanes), total);
  });
  return sum(total);
}

// to <- factor from
inline void scale_into(int64_t size, float factor, const float* from, float* to) {
  in_lanes(size, [&](int64_t i, auto lanes) {
    store(to + i, all(factor) * load(from + i, lanes), lanes);
  });
}

// to += factor from
inline void scale_onto(int64_t size, float factor, const float* from, float* to) {
  in_lanes(size, [&](int64_t i, auto lanes) {
    store(to + i, fma(all(factor), load(from + i, lanes), load(to + i, lanes)), lanes);
  });
}

// Calls work(first, count) for all of [0, size), where the compiler knows each count: kMost, then
// 1 by 1.
template <int64_t kCount>
struct Known {
  static constexpr int64_t count = kCount;
};
template <int64_t kMost, typename Work>
inline void in_blocks(int64_t size, const Work& work) {
  int64_t i = 0;
  for (; i + kMost <= size; i += kMost) work(i, Known<kMost>{});
  for (; i < size; ++i) work(i, Known<1>{});
}

// Calls work(first, vectors, lanes) for all columns: two vectors at a time, then one by one.
template <typename Work>
inline void in_vector_pairs(int64_t columns, const Work& work) {
  int64_t i = 0;
  for (; i + 2 * kLanes <= columns; i += 2 * kLanes) work(i, Known<2>{}, AllLanes{});
  in_lanes(columns - i, [&](int64_t rest, auto lanes) { work(i + rest, Known<1>{}, lanes); });
}

}  // namespace

void routing_scores(const Matrix& low, int64_t rank, const Matrix& scores) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(rank));
  for (int64_t r = 0; r < low.rows; ++r) {
    const float* e = row_of(low, r);
    const float* t = e + scores.columns * rank;
    float* s = row_of(scores, r);
    for (int64_t j = 0; j < scores.columns; ++j) s[j] = scale * dot(rank, e + j * rank, t);
  }
}

void routing_scores_backward(const Matrix& d_scores, int64_t rank, const Matrix& low) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(rank));
  for (int64_t r = 0; r < low.rows; ++r) {
    float* e = row_of(low, r);
    float* t = e + d_scores.columns * rank;
    const float* d = row_of(d_scores, r);
    in_lanes(rank, [&](int64_t i, auto lanes) {
      const Vector of_t = load(t + i, lanes);
      Vector d_t = all(0);
      for (int64_t j = 0; j < d_scores.columns; ++j) {
        const Vector slope = all(scale * d[j]);
        d_t = fma(slope, load(e + j * rank + i, lanes), d_t);
        store(e + j * rank + i, slope * of_t, lanes);
      }
      store(t + i, d_t, lanes);
    });
  }
}

void choose_experts(int64_t chosen, const Matrix& scores, const Matrix& weights, int32_t* choices) {
  const int64_t experts = scores.columns;
  kPasses.softmax(scores.rows, experts, /*causal=*/false, 1, scores.data);
  for (int64_t r = 0; r < scores.rows; ++r) {
    const float* p = row_of(scores, r);
    float* w = row_of(weights, r);
    for (int64_t j = 0; j < experts; ++j) w[j] = 0;
    float total = 0;
    for (int64_t k = 0; k < chosen; ++k) {
      int64_t best = -1;
      for (int64_t j = 0; j < experts; ++j) {
        if (w[j] == 0 && (best < 0 || p[j] > p[best])) best = j;
      }
      // Chosen ones are told by their weight: one that vanishes keeps the least that there is.
      w[best] = p[best] > 0 ? p[best] : std::numeric_limits<float>::min();
      total += w[best];
      choices[r * chosen + k] = static_cast<int32_t>(best);
    }
    for (int64_t k = 0; k < chosen; ++k) w[choices[r * chosen + k]] /= total;
  }
}

// With w = p / sum(p) over the chosen, which is a softmax of their scores alone:
//   d_score_j = w_j (d_w_j - sum(w d_w)) + p_j (slope_j - sum(p slope)).
void choose_experts_backward(const Matrix& p, const Matrix& weights, const float* slopes,
                             const Matrix& d_weights) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const float* of = row_of(p, r);
    const float* w = row_of(weights, r);
    float* d = row_of(d_weights, r);
    const float chosen_mean = dot(p.columns, w, d), mean = dot(p.columns, of, slopes);
    in_lanes(p.columns, [&](int64_t i, auto lanes) {
      const Vector through_weights = load(w + i, lanes) * (load(d + i, lanes) - all(chosen_mean));
      const Vector through_p = load(of + i, lanes) * (load(slopes + i, lanes) - all(mean));
      store(d + i, through_weights + through_p, lanes);
    });
  }
}

void weigh(TokenList tokens, float scale, const Matrix& e, const Matrix& w, const Matrix& mixed) {
  for (int64_t c = 0; c < tokens.count; ++c) {
    const int64_t r = tokens.rows[c];
    scale_into(mixed.columns, scale * *row_of(w, r), row_of(e, r), row_of(mixed, c));
  }
}

void weigh_backward_weights(TokenList tokens, float scale, const Matrix& e, const Matrix& d_mixed,
                            const Matrix& d_w) {
  for (int64_t c = 0; c < tokens.count; ++c) {
    const int64_t r = tokens.rows[c];
    *row_of(d_w, r) = scale * dot(d_mixed.columns, row_of(d_mixed, c), row_of(e, r));
  }
}

void weigh_backward_embeddings(TokenList tokens, float scale, const Matrix& w,
                               const Matrix& d_mixed, const Matrix& d_e) {
  for (int64_t c = 0; c < tokens.count; ++c) {
    const int64_t r = tokens.rows[c];
    scale_onto(d_mixed.columns, scale * *row_of(w, r), row_of(d_mixed, c), row_of(d_e, r));
  }
}

// The three products keep a block of results in registers: eight sums, which is what hides the
// latency of multiplying and adding.

namespace {

// Of `kTokens` tokens from the c-th on, `kVectors` vectors of columns from the i-th on.
template <int64_t kTokens, int64_t kVectors, typename Lanes>
inline void add_block(TokenList tokens, const Matrix& mixed, const Matrix& turned_b,
                      const Matrix& y, int64_t c, int64_t i, Lanes lanes) {
  Vector sums[kTokens][kVectors];
  float* to[kTokens];
  for (int64_t q = 0; q < kTokens; ++q) {
    to[q] = row_of(y, tokens.rows[c + q]) + i;
    for (int64_t v = 0; v < kVectors; ++v) sums[q][v] = load(to[q] + v * kLanes, lanes);
  }
  for (int64_t k = 0; k < turned_b.rows; ++k) {
    Vector b[kVectors];
    for (int64_t v = 0; v < kVectors; ++v) b[v] = load(row_of(turned_b, k) + i + v * kLanes, lanes);
    for (int64_t q = 0; q < kTokens; ++q) {
      const Vector factor = all(row_of(mixed, c + q)[k]);
      for (int64_t v = 0; v < kVectors; ++v) sums[q][v] = fma(factor, b[v], sums[q][v]);
    }
  }
  for (int64_t q = 0; q < kTokens; ++q) {
    for (int64_t v = 0; v < kVectors; ++v) store(to[q] + v * kLanes, sums[q][v], lanes);
  }
}

// Of `kRanks` rows from the k-th on, `kVectors` vectors of columns from the i-th on.
template <int64_t kRanks, int64_t kVectors, typename Lanes>
inline void gradient_block(TokenList tokens, const Matrix& mixed, const Matrix& d_y,
                           const Matrix& turned_d_b, int64_t k, int64_t i, Lanes lanes) {
  Vector sums[kRanks][kVectors];
  for (auto& row : sums) {
    for (Vector& sum : row) sum = all(0);
  }
  for (int64_t c = 0; c < tokens.count; ++c) {
    const float* from = row_of(d_y, tokens.rows[c]) + i;
    const float* factors = row_of(mixed, c) + k;
    Vector d[kVectors];
    for (int64_t v = 0; v < kVectors; ++v) d[v] = load(from + v * kLanes, lanes);
    for (int64_t q = 0; q < kRanks; ++q) {
      const Vector factor = all(factors[q]);
      for (int64_t v = 0; v < kVectors; ++v) sums[q][v] = fma(factor, d[v], sums[q][v]);
    }
  }
  for (int64_t q = 0; q < kRanks; ++q) {
    for (int64_t v = 0; v < kVectors; ++v) {
      store(row_of(turned_d_b, k + q) + i + v * kLanes, sums[q][v], lanes);
    }
  }
}

}  // namespace

void add_expert(TokenList tokens, const Matrix& mixed, const Matrix& turned_b, const Matrix& y) {
  in_blocks<4>(tokens.count, [&](int64_t c, auto block) {
    constexpr int64_t kTokens = decltype(block)::count;
    in_vector_pairs(y.columns, [&](int64_t i, auto vectors, auto lanes) {
      constexpr int64_t kVectors = decltype(vectors)::count;
      add_block<kTokens, kVectors>(tokens, mixed, turned_b, y, c, i, lanes);
    });
  });
}

void expert_gradient(TokenList tokens, const Matrix& mixed, const Matrix& d_y,
                     const Matrix& turned_d_b) {
  in_blocks<4>(turned_d_b.rows, [&](int64_t k, auto block) {
    constexpr int64_t kRanks = decltype(block)::count;
    in_vector_pairs(d_y.columns, [&](int64_t i, auto vectors, auto lanes) {
      constexpr int64_t kVectors = decltype(vectors)::count;
      gradient_block<kRanks, kVectors>(tokens, mixed, d_y, turned_d_b, k, i, lanes);
    });
  });
}

void expert_input_gradient(TokenList tokens, const Matrix& d_y, const Matrix& b,
                           const Matrix& d_mixed) {
  in_blocks<8>(tokens.count, [&](int64_t c, auto block) {
    constexpr int64_t kTokens = decltype(block)::count;
    const float* from[kTokens];
    for (int64_t q = 0; q < kTokens; ++q) from[q] = row_of(d_y, tokens.rows[c + q]);
    in_lanes(b.columns, [&](int64_t k, auto lanes) {
      Vector sums[kTokens];
      for (Vector& sum : sums) sum = all(0);
      for (int64_t o = 0; o < b.rows; ++o) {
        const Vector of_b = load(row_of(b, o) + k, lanes);
        for (int64_t q = 0; q < kTokens; ++q) sums[q] = fma(all(from[q][o]), of_b, sums[q]);
      }
      for (int64_t q = 0; q < kTokens; ++q) store(row_of(d_mixed, c + q) + k, sums[q], lanes);
    });
  });
}

const MixturePassTable kMixturePasses{routing_scores,
                                      routing_scores_backward,
                                      choose_experts,
                                      choose_experts_backward,
                                      weigh,
                                      weigh_backward_weights,
                                      weigh_backward_embeddings,
                                      add_expert,
                                      expert_gradient,
                                      expert_input_gradient};

}  // namespace fedclock::nn::FEDCLOCK_LANES
