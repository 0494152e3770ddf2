// The elementwise passes of each vector width against plain loops in double, over random sizes.
#include "models/nn/passes.h"

#include <rapidcheck.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/models/nn/each_width.h"

namespace fedclock::nn {

namespace {

using Floats = std::vector<float>;

std::vector<const PassTable*> tables() { return tables_here(avx2::kPasses, avx512::kPasses); }

Floats normals(Random& random, int64_t size, double deviation = 1) {
  Floats values(static_cast<size_t>(size));
  for (float& x : values) x = static_cast<float>(deviation * random.normal());
  return values;
}

template <typename Property>
bool holds_for_each_table(const Property& property) {
  return holds_for_each(tables(), property);
}

TEST_CASE("passes: residual, norm and their gradient") {
  CHECK(holds_for_each_table([](const PassTable& table, Random& random) {
    const auto n = 1 + static_cast<int64_t>(random.below(4));
    const auto width = 6 + static_cast<int64_t>(random.below(60));
    const bool centred = random.below(2) == 0;
    const Floats weight = normals(random, width), bias = normals(random, width);
    const Floats residual = normals(random, n * width), branch = normals(random, n * width);
    const Floats branch_bias = normals(random, width), d_normed = normals(random, n * width);
    const Floats addend = normals(random, n * width);
    const NormParameters norm{.kind = centred ? Norm::kLayerNorm : Norm::kRmsNorm,
                              .epsilon = 1e-3F,
                              .weight = weight.data(),
                              .bias = centred ? bias.data() : nullptr};
    Floats sum(residual.size()), normed(residual.size()), d_input(residual.size());
    Floats mean(static_cast<size_t>(n)), inverse(static_cast<size_t>(n));
    const NormRows rows{mean.data(), inverse.data()};
    table.residual_norm(norm, n, width, residual.data(), branch.data(), branch_bias.data(),
                        sum.data(), normed.data(), rows);
    table.norm_backward(norm, n, width, sum.data(), rows, d_normed.data(), addend.data(),
                        d_input.data());
    for (int64_t r = 0; r < n; ++r) {
      const auto at = [&](int64_t i) { return static_cast<size_t>(r * width + i); };
      std::vector<double> x, z;
      double m = 0, square = 0;
      for (int64_t i = 0; i < width; ++i) {
        x.push_back(static_cast<double>(residual[at(i)]) + branch[at(i)] + branch_bias[i]);
        near(sum[at(i)], x.back(), 2e-6);
        m += x.back() / static_cast<double>(width);
      }
      if (!centred) m = 0;
      for (const double v : x) square += (v - m) * (v - m) / static_cast<double>(width);
      const double scale = 1 / std::sqrt(square + 1e-3);
      double g_mean = 0, gz_mean = 0;
      for (int64_t i = 0; i < width; ++i) {
        z.push_back((x[i] - m) * scale);
        near(normed[at(i)], z[i] * weight[i] + (centred ? bias[i] : 0), 1e-5);
        const double g = static_cast<double>(d_normed[at(i)]) * weight[i];
        g_mean += (centred ? g : 0) / static_cast<double>(width);
        gz_mean += g * z[i] / static_cast<double>(width);
      }
      for (int64_t i = 0; i < width; ++i) {
        const double g = static_cast<double>(d_normed[at(i)]) * weight[i];
        near(d_input[at(i)], scale * (g - g_mean - z[i] * gz_mean) + addend[at(i)], 2e-5);
      }
    }
  }));
}

double function_of(Activation activation, double x) {
  constexpr double kRootTwoOverPi = 0.7978845608028654;
  switch (activation) {
    case Activation::kGelu: return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return x * 0.5 * (1 + std::tanh(kRootTwoOverPi * (x + 0.044715 * x * x * x)));
    case Activation::kRelu: return std::max(x, 0.0);
    case Activation::kSwiGlu: return x / (1 + std::exp(-x));
  }
  return 0;
}

double slope_of(Activation activation, double x) {
  if (activation == Activation::kRelu) return x > 0 ? 1 : 0;
  constexpr double kStep = 1e-5;
  return (function_of(activation, x + kStep) - function_of(activation, x - kStep)) / (2 * kStep);
}

TEST_CASE("passes: activations and their slopes, from far below zero to far above") {
  CHECK(holds_for_each_table([](const PassTable& table, Random& random) {
    for (const Activation activation :
         {Activation::kGelu, Activation::kGeluTanh, Activation::kRelu, Activation::kSwiGlu}) {
      const auto width = 1 + static_cast<int64_t>(random.below(40));
      const int64_t parts = activation == Activation::kSwiGlu ? 2 : 1;
      const Floats before = normals(random, parts * width, 4),
                   bias = normals(random, parts * width);
      const Floats d_inner = normals(random, width);
      Floats up = before, inner(static_cast<size_t>(width));
      table.activation(activation, 1, width, bias.data(), up.data(), inner.data(), true);
      Floats slopes = up;
      table.activation_backward(1, width, parts, d_inner.data(), slopes.data());
      for (int64_t i = 0; i < width; ++i) {
        const double x = static_cast<double>(before[i]) + bias[i];
        const double gate =
            parts == 2 ? static_cast<double>(before[width + i]) + bias[width + i] : x;
        const double f = function_of(activation, gate), slope = slope_of(activation, gate);
        near(inner[i], parts == 2 ? f * x : f, 4e-6);
        near(up[i], parts == 2 ? f : slope, 4e-6);
        if (parts == 2) near(up[width + i], slope * x, 4e-6);
        near(slopes[i], static_cast<double>(up[i]) * d_inner[i], 1e-6);
        if (parts == 2)
          near(slopes[width + i], static_cast<double>(up[width + i]) * d_inner[i], 1e-6);
      }
    }
  }));
}

TEST_CASE("passes: softmax and its gradient, causal or not") {
  CHECK(holds_for_each_table([](const PassTable& table, Random& random) {
    const auto tokens = 1 + static_cast<int64_t>(random.below(40));
    const bool causal = random.below(2) == 0;
    const Floats scores = normals(random, tokens * tokens, 5);
    const Floats d_p = normals(random, tokens * tokens);
    Floats p = scores, d = d_p;
    table.softmax(tokens, tokens, causal, 0.5F, p.data());
    table.softmax_backward(tokens, causal, 0.5F, p.data(), d.data());
    for (int64_t r = 0; r < tokens; ++r) {
      const int64_t seen = causal ? r + 1 : tokens;
      const auto at = [&](int64_t i) { return static_cast<size_t>(r * tokens + i); };
      double total = 0, mean = 0;
      for (int64_t i = 0; i < seen; ++i) total += std::exp(0.5 * scores[at(i)]);
      for (int64_t i = 0; i < seen; ++i) mean += static_cast<double>(p[at(i)]) * d_p[at(i)];
      for (int64_t i = 0; i < tokens; ++i) {
        const double expected = i < seen ? std::exp(0.5 * scores[at(i)]) / total : 0;
        near(p[at(i)], expected, 2e-6);
        near(d[at(i)], i < seen ? 0.5 * p[at(i)] * (d_p[at(i)] - mean) : 0, 2e-6);
      }
    }
  }));
}

TEST_CASE("passes: cross entropy, its gradient and its first highest score") {
  CHECK(holds_for_each_table([](const PassTable& table, Random& random) {
    const auto n = 1 + static_cast<int64_t>(random.below(5));
    const auto classes = 1 + static_cast<int64_t>(random.below(50));
    Floats scores = normals(random, n * classes, 3);
    for (float& x : scores) x = std::round(x);  // so that there are equals
    std::vector<int32_t> targets;
    for (int64_t r = 0; r < n; ++r) {
      targets.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(classes))));
    }
    Floats gradient = scores, kept = scores;
    std::vector<double> losses(static_cast<size_t>(n)), again(static_cast<size_t>(n));
    const int64_t correct = table.cross_entropy(n, classes, targets.data(), 0.25F, true,
                                                gradient.data(), losses.data());
    RC_ASSERT(correct ==
              table.cross_entropy(n, classes, targets.data(), 0, false, kept.data(), again.data()));
    RC_ASSERT(kept == scores);
    RC_ASSERT(losses == again);
    int64_t expected_correct = 0;
    for (int64_t r = 0; r < n; ++r) {
      const auto row = scores.begin() + r * classes;
      expected_correct += std::max_element(row, row + classes) - row == targets[r];
      double total = 0;
      for (int64_t i = 0; i < classes; ++i) total += std::exp(static_cast<double>(row[i]));
      near(losses[r], std::log(total) - row[targets[r]], 2e-6);
      for (int64_t i = 0; i < classes; ++i) {
        const double p = std::exp(static_cast<double>(row[i])) / total;
        near(gradient[r * classes + i], 0.25 * (p - (i == targets[r] ? 1 : 0)), 2e-6);
      }
    }
    RC_ASSERT(correct == expected_correct);
  }));
}

TEST_CASE("passes: what is no number stays none") {
  constexpr float kNoNumber = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const PassTable* table : tables()) {
    for (const size_t where : {0, 3, 20}) {
      for (const float value : {kNoNumber, kInfinity}) {
        Floats row(21, 1.0F);
        row[where] = value;
        Floats scores = row, attention;
        const int32_t target = 2;
        double loss = 0;
        table->cross_entropy(1, 21, &target, 1, true, scores.data(), &loss);
        CHECK(!std::isfinite(loss));
        CHECK(std::all_of(scores.begin(), scores.end(), [](float x) { return std::isnan(x); }));
        for (int r = 0; r < 21; ++r) attention.insert(attention.end(), row.begin(), row.end());
        table->softmax(21, 21, false, 1, attention.data());
        CHECK(
            std::all_of(attention.begin(), attention.end(), [](float x) { return std::isnan(x); }));
      }
      Floats up(21, 1.0F), inner(21);
      up[where] = kNoNumber;
      for (const Activation activation :
           {Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
        Floats x = up;
        table->activation(activation, 1, 21, nullptr, x.data(), inner.data(), true);
        CHECK(std::isnan(inner[where]));
      }
    }
    // Far apart: all weight on the highest.
    Floats far{-1000, 500, -90};
    table->softmax(1, 1, false, 1, far.data());
    CHECK(far[0] == Approx(1));
    Floats three{-1000, 500, -90, 0, 0, 0, 0, 0, 0};
    table->softmax(3, 3, true, 1, three.data());
    CHECK(three[0] == Approx(1));
    double loss = 0;
    const int32_t target = 0;
    Floats scores{-1000, 500, -90};
    CHECK(table->cross_entropy(1, 3, &target, 1, true, scores.data(), &loss) == 0);
    CHECK(loss == Approx(1500));
    CHECK(scores[1] == Approx(1));
  }
}

TEST_CASE("passes: rotations turn and turn back") {
  CHECK(holds_for_each_table([](const PassTable& table, Random& random) {
    const auto tokens = 1 + static_cast<int64_t>(random.below(5));
    const auto half = 1 + static_cast<int64_t>(random.below(40));
    const Floats angles = normals(random, tokens * half, 2);
    Floats cos, sin;
    for (const float angle : angles) {
      cos.push_back(std::cos(angle));
      sin.push_back(std::sin(angle));
    }
    // Two heads are turned, a third is not.
    const int64_t stride = 6 * half;
    const Floats before = normals(random, tokens * stride);
    Floats x = before;
    table.rotate_heads(tokens, 2, 2 * half, stride, cos.data(), sin.data(), false, x.data());
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < stride; ++i) {
        const int64_t k = i % half;
        const bool first = i % (2 * half) < half;
        const double c = std::cos(static_cast<double>(angles[t * half + k]));
        const double s = std::sin(static_cast<double>(angles[t * half + k]));
        const double own = before[t * stride + i];
        const double other = before[t * stride + (first ? i + half : i - half)];
        near(x[t * stride + i], i >= 4 * half ? own : own * c + (first ? -other : other) * s, 2e-6);
      }
    }
    table.rotate_heads(tokens, 2, 2 * half, stride, cos.data(), sin.data(), true, x.data());
    for (size_t i = 0; i < x.size(); ++i) near(x[i], before[i], 1e-6);
  }));
}

TEST_CASE("passes: bias, and rounding to bfloat16 to nearest, ties to even") {
  for (const PassTable* table : tables()) {
    Floats x{1, 2, 3, 4, 5, 6};
    const Floats bias{10, 20, 30};
    table->add_bias(2, 3, bias.data(), x.data());
    CHECK(x == Floats{11, 22, 33, 14, 25, 36});
    // 1 + 2^-8 lies between 1 (even) and 1 + 2^-7; 1 + 3 * 2^-8 between that and 1 + 2^-6 (even).
    const Floats from{1, 1.00390625F, 1.01171875F, 1.00390637F, -2.5F, INFINITY, NAN, 0, 3, 1e-40F};
    std::vector<uint16_t> to(from.size());
    table->to_bf16(static_cast<int64_t>(from.size()), from.data(), to.data());
    CHECK(to[0] == 0x3f80);
    CHECK(to[1] == 0x3f80);
    CHECK(to[2] == 0x3f82);
    CHECK(to[3] == 0x3f81);
    CHECK(to[4] == 0xc020);
    CHECK(to[5] == 0x7f80);
    CHECK((to[6] & 0x7f80) == 0x7f80);
    CHECK((to[6] & 0x7f) != 0);
    CHECK(to[7] == 0);
    CHECK(to[8] == 0x4040);
  }
}

}  // namespace
}  // namespace fedclock::nn
