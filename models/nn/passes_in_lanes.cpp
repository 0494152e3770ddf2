// Compiled for each of the vector widths of models/nn/lanes.h. No inline function of another header
// may be left here as a symbol: the linker could take the wide one for all of the program.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "models/nn/lanes.h"
#include "models/nn/passes.h"

namespace fedclock::nn::FEDCLOCK_LANES {

void residual_norm(const NormParameters& norm, int64_t n, int64_t width, const float* residual,
                   const float* branch, const float* bias, float* sum_out, float* normed,
                   NormRows rows) {
  const bool centred = norm.kind == Norm::kLayerNorm;
  const float share = 1.0F / static_cast<float>(width);
  for (int64_t r = 0; r < n; ++r) {
    // The row is kept in `normed` between the passes: it is there anyway, and in the first cache.
    float* y = normed + r * width;
    const float* x = residual + r * width;
    const float* b = branch == nullptr ? nullptr : branch + r * width;
    float* out = sum_out == nullptr ? nullptr : sum_out + r * width;
    Vector total = all(0);
    in_lanes(width, [&](int64_t i, auto lanes) {
      Vector v = load(x + i, lanes);
      if (b != nullptr) v += load(b + i, lanes);
      if (bias != nullptr) v += load(bias + i, lanes);
      if (out != nullptr) store(out + i, v, lanes);
      store(y + i, v, lanes);
      total += v;
    });
    const float mean = centred ? sum(total) * share : 0.0F;
    Vector squares = all(0);
    in_lanes(width, [&](int64_t i, auto lanes) {
      const Vector v = load(y + i, lanes, mean) - all(mean);
      squares = fma(v, v, squares);
    });
    const float inverse = 1.0F / std::sqrt(sum(squares) * share + norm.epsilon);
    in_lanes(width, [&](int64_t i, auto lanes) {
      Vector v = (load(y + i, lanes) - all(mean)) * all(inverse) * load(norm.weight + i, lanes);
      if (norm.bias != nullptr) v += load(norm.bias + i, lanes);
      store(y + i, v, lanes);
    });
    if (centred && rows.mean != nullptr) rows.mean[r] = mean;
    if (rows.inverse != nullptr) rows.inverse[r] = inverse;
  }
}

// With z = (x - mean) * inverse and g = d_normed * weight:
//   d_x = inverse * (g - mean(g) - z * mean(g * z)),  without mean(g) for RMS norms.
void norm_backward(const NormParameters& norm, int64_t n, int64_t width, const float* input,
                   NormRows rows, const float* d_normed, const float* addend, float* d_input) {
  const bool centred = norm.kind == Norm::kLayerNorm;
  const float share = 1.0F / static_cast<float>(width);
  for (int64_t r = 0; r < n; ++r) {
    const float* x = input + r * width;
    const float* d = d_normed + r * width;
    const float mean = centred ? rows.mean[r] : 0.0F;
    const float inverse = rows.inverse[r];
    Vector g_sum = all(0), gz_sum = all(0);
    in_lanes(width, [&](int64_t i, auto lanes) {
      const Vector g = load(d + i, lanes) * load(norm.weight + i, lanes);
      const Vector z = (load(x + i, lanes, mean) - all(mean)) * all(inverse);
      g_sum += g;
      gz_sum = fma(g, z, gz_sum);
    });
    const Vector g_mean = all(centred ? sum(g_sum) * share : 0.0F);
    const Vector gz_mean = all(sum(gz_sum) * share);
    in_lanes(width, [&](int64_t i, auto lanes) {
      const Vector g = load(d + i, lanes) * load(norm.weight + i, lanes);
      const Vector z = (load(x + i, lanes, mean) - all(mean)) * all(inverse);
      Vector result = (g - g_mean - z * gz_mean) * all(inverse);
      if (addend != nullptr) result += load(addend + r * width + i, lanes);
      store(d_input + r * width + i, result, lanes);
    });
  }
}

void add_bias(int64_t n, int64_t width, const float* bias, float* x) {
  for (int64_t r = 0; r < n; ++r) {
    float* row = x + r * width;
    in_lanes(width, [&](int64_t i, auto lanes) {
      store(row + i, load(row + i, lanes) + load(bias + i, lanes), lanes);
    });
  }
}

namespace {

struct ValueAndSlope {
  Vector value, slope;
};

// x Phi(x), with the normal distribution function Phi by formula 7.1.26 of Abramowitz and Stegun
// for erf (absolute error below 1.5e-7).
struct Gelu {
  ValueAndSlope operator()(Vector x) const {
    const Vector z = larger(x, -x) * all(0.70710678F);
    const Vector t = all(1.0F) / fma(z, all(0.3275911F), all(1.0F));
    const Vector bell = exponential(-z * z);  // e^(-x^2 / 2)
    Vector p = all(1.061405429F);
    p = fma(p, t, all(-1.453152027F));
    p = fma(p, t, all(1.421413741F));
    p = fma(p, t, all(-0.284496736F));
    p = fma(p, t, all(0.254829592F));
    const Vector tail = p * t * bell * all(0.5F);  // Phi(-|x|)
    const Vector phi = x > all(0) ? all(1.0F) - tail : tail;
    return {x * phi, fma(x * all(0.39894228F), bell, phi)};
  }
};

// x s(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3): the same as x (1 + tanh u) / 2.
struct GeluTanh {
  ValueAndSlope operator()(Vector x) const {
    const Vector squared = x * x;
    const Vector u2 = all(1.59576912F) * x * fma(squared, all(0.044715F), all(1.0F));
    const Vector s = sigmoid(u2);
    const Vector u2_slope = all(1.59576912F) * fma(squared, all(0.134145F), all(1.0F));
    return {x * s, fma(x * s * (all(1.0F) - s), u2_slope, s)};
  }
};

struct Relu {
  ValueAndSlope operator()(Vector x) const {
    return {larger(all(0), x), x > all(0) ? all(1.0F) : all(0)};
  }
};

template <typename Function>
void plain(const Function& function, int64_t n, int64_t width, const float* bias, float* up,
           float* inner, bool keep_slopes) {
  for (int64_t r = 0; r < n; ++r) {
    float* x = up + r * width;
    float* y = inner + r * width;
    in_lanes(width, [&](int64_t i, auto lanes) {
      Vector v = load(x + i, lanes);
      if (bias != nullptr) v += load(bias + i, lanes);
      const ValueAndSlope result = function(v);
      store(y + i, result.value, lanes);
      if (keep_slopes) store(x + i, result.slope, lanes);
    });
  }
}

void swiglu(int64_t n, int64_t width, const float* bias, float* up, float* inner,
            bool keep_slopes) {
  for (int64_t r = 0; r < n; ++r) {
    float* u = up + r * 2 * width;
    float* g = u + width;
    float* y = inner + r * width;
    in_lanes(width, [&](int64_t i, auto lanes) {
      Vector of_up = load(u + i, lanes), of_gate = load(g + i, lanes);
      if (bias != nullptr) {
        of_up += load(bias + i, lanes);
        of_gate += load(bias + width + i, lanes);
      }
      const Vector s = sigmoid(of_gate);
      const Vector silu = of_gate * s;
      store(y + i, silu * of_up, lanes);
      if (!keep_slopes) return;
      store(u + i, silu, lanes);
      store(g + i, of_up * fma(silu, all(1.0F) - s, s), lanes);
    });
  }
}

}  // namespace

void activation(Activation activation, int64_t n, int64_t ffn_width, const float* bias, float* up,
                float* inner, bool keep_slopes) {
  switch (activation) {
    case Activation::kGelu: return plain(Gelu{}, n, ffn_width, bias, up, inner, keep_slopes);
    case Activation::kGeluTanh:
      return plain(GeluTanh{}, n, ffn_width, bias, up, inner, keep_slopes);
    case Activation::kRelu: return plain(Relu{}, n, ffn_width, bias, up, inner, keep_slopes);
    case Activation::kSwiGlu: return swiglu(n, ffn_width, bias, up, inner, keep_slopes);
  }
}

void activation_backward(int64_t n, int64_t ffn_width, int64_t parts, const float* d_inner,
                         float* slopes) {
  for (int64_t r = 0; r < n; ++r) {
    const float* d = d_inner + r * ffn_width;
    for (int64_t part = 0; part < parts; ++part) {
      float* s = slopes + (r * parts + part) * ffn_width;
      in_lanes(ffn_width, [&](int64_t i, auto lanes) {
        store(s + i, load(s + i, lanes) * load(d + i, lanes), lanes);
      });
    }
  }
}

void softmax(int64_t n, int64_t columns, bool causal, float scale, float* scores) {
  constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
  for (int64_t r = 0; r < n; ++r) {
    float* row = scores + r * columns;
    const int64_t seen = causal ? columns - n + r + 1 : columns;
    Vector highest = all(kMinusInfinity);
    in_lanes(seen, [&](int64_t i, auto lanes) {
      highest = larger(highest, load(row + i, lanes, kMinusInfinity));
    });
    const Vector top = all(largest(highest));
    Vector total = all(0);
    // What lies beyond the row's end counts e^(-87) in the last lanes: less than a rounding error.
    in_lanes(seen, [&](int64_t i, auto lanes) {
      const Vector e = exponential((load(row + i, lanes, kMinusInfinity) - top) * all(scale));
      total += e;
      store(row + i, e, lanes);
    });
    const Vector inverse = all(1.0F / sum(total));
    in_lanes(seen,
             [&](int64_t i, auto lanes) { store(row + i, load(row + i, lanes) * inverse, lanes); });
    for (int64_t i = seen; i < columns; ++i) row[i] = 0;
  }
}

void softmax_backward(int64_t tokens, bool causal, float scale, const float* p, float* d_scores) {
  for (int64_t r = 0; r < tokens; ++r) {
    const float* of = p + r * tokens;
    float* d = d_scores + r * tokens;
    const int64_t seen = causal ? r + 1 : tokens;
    Vector total = all(0);
    in_lanes(seen, [&](int64_t i, auto lanes) {
      total = fma(load(of + i, lanes), load(d + i, lanes), total);
    });
    const Vector mean = all(sum(total));
    in_lanes(seen, [&](int64_t i, auto lanes) {
      store(d + i, load(of + i, lanes) * (load(d + i, lanes) - mean) * all(scale), lanes);
    });
    for (int64_t i = seen; i < tokens; ++i) d[i] = 0;
  }
}

void rotate_heads(int64_t tokens, int64_t heads, int64_t head_width, int64_t stride,
                  const float* cos, const float* sin, bool inverse, float* x) {
  const int64_t half = head_width / 2;
  const Vector sign = all(inverse ? -1.0F : 1.0F);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t head = 0; head < heads; ++head) {
      float* first = x + t * stride + head * head_width;
      float* second = first + half;
      in_lanes(half, [&](int64_t i, auto lanes) {
        const Vector c = load(cos + t * half + i, lanes);
        const Vector s = load(sin + t * half + i, lanes) * sign;
        const Vector a = load(first + i, lanes), b = load(second + i, lanes);
        store(first + i, a * c - b * s, lanes);
        store(second + i, b * c + a * s, lanes);
      });
    }
  }
}

void to_bf16(int64_t size, const float* from, uint16_t* to) {
  int64_t i = 0;
  for (; i + 8 <= size; i += 8) store_bf16(to + i, rounded_to_bf16(_mm256_loadu_ps(from + i)));
  if (i == size) return;
  float last[8] = {};
  uint16_t rounded_last[8];
  std::memcpy(last, from + i, static_cast<size_t>(size - i) * sizeof(float));
  store_bf16(rounded_last, rounded_to_bf16(_mm256_loadu_ps(last)));
  std::memcpy(to + i, rounded_last, static_cast<size_t>(size - i) * sizeof(uint16_t));
}

int64_t cross_entropy(int64_t n, int64_t classes, const int32_t* targets, float weight,
                      bool gradient, float* scores, double* losses) {
  constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
  int64_t correct = 0;
  for (int64_t r = 0; r < n; ++r) {
    float* row = scores + r * classes;
    const float of_target = row[targets[r]];
    Vector highest = all(kMinusInfinity);
    in_lanes(classes, [&](int64_t i, auto lanes) {
      highest = larger(highest, load(row + i, lanes, kMinusInfinity));
    });
    const float top = largest(highest);
    correct += of_target == top && std::find(row, row + targets[r], top) == row + targets[r];
    Vector total = all(0);
    in_lanes(classes, [&](int64_t i, auto lanes) {
      const Vector e = exponential(load(row + i, lanes, kMinusInfinity) - all(top));
      total += e;
      if (gradient) store(row + i, e, lanes);
    });
    const float all_e = sum(total);
    losses[r] = std::log(static_cast<double>(all_e)) + top - of_target;
    if (!gradient) continue;
    const Vector factor = all(weight / all_e);
    in_lanes(classes,
             [&](int64_t i, auto lanes) { store(row + i, load(row + i, lanes) * factor, lanes); });
    row[targets[r]] -= weight;
  }
  return correct;
}

const PassTable kPasses{
    residual_norm, norm_backward,    add_bias,     activation, activation_backward,
    softmax,       softmax_backward, rotate_heads, to_bf16,    cross_entropy};

}  // namespace fedclock::nn::FEDCLOCK_LANES
