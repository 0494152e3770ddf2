// Eight floats at a time, for models/nn/passes.cpp alone: it is compiled for AVX2 and FMA.
//
// Sums over a row run in eight lanes that are added up in a fixed order, so that the same input
// gives the same bits on every machine.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <limits>

namespace fedclock::nn {

using Vector = __m256;
inline constexpr int64_t kLanes = 8;

// How many lanes of a vector are meant: all, or the first few at the end of a row.
struct AllLanes {};
struct SomeLanes {
  int64_t count;
};

inline Vector all(float x) { return _mm256_set1_ps(x); }
inline Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Vector larger(Vector a, Vector b) { return _mm256_max_ps(a, b); }
inline Vector smaller(Vector a, Vector b) { return _mm256_min_ps(a, b); }

inline Vector load(const float* from, AllLanes, float = 0) { return _mm256_loadu_ps(from); }
inline Vector load(const float* from, SomeLanes lanes, float rest = 0) {
  float values[kLanes] = {rest, rest, rest, rest, rest, rest, rest, rest};
  std::memcpy(values, from, static_cast<size_t>(lanes.count) * sizeof(float));
  return _mm256_loadu_ps(values);
}
inline void store(float* to, Vector x, AllLanes) { _mm256_storeu_ps(to, x); }
inline void store(float* to, Vector x, SomeLanes lanes) {
  float values[kLanes];
  _mm256_storeu_ps(values, x);
  std::memcpy(to, values, static_cast<size_t>(lanes.count) * sizeof(float));
}

// Calls work(first index, lanes) for all of [0, size).
template <typename Work>
inline void in_lanes(int64_t size, const Work& work) {
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) work(i, AllLanes{});
  if (i < size) work(i, SomeLanes{size - i});
}

inline float sum(Vector x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
inline float largest(Vector x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

// e^x: x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 6 (relative
// error below 3e-7 in all), 2^n through the exponent's bits. Below -87.3: 0, nearly; above 88:
// e^88.
inline Vector exponential(Vector x) {
  x = smaller(larger(x, all(-87.3F)), all(88.0F));
  const Vector n = _mm256_round_ps(x * all(1.44269504F),  // 1 / ln 2
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts, the first exact in few bits (Cody and Waite, 1980)
  Vector r = fma(n, all(-0.693359375F), x);
  r = fma(n, all(2.12194440e-4F), r);
  Vector p = all(1.0F / 720);
  p = fma(p, r, all(1.0F / 120));
  p = fma(p, r, all(1.0F / 24));
  p = fma(p, r, all(1.0F / 6));
  p = fma(p, r, all(0.5F));
  p = fma(p, r, all(1.0F));
  p = fma(p, r, all(1.0F));
  const __m256i power =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return p * _mm256_castsi256_ps(power);
}

inline Vector sigmoid(Vector x) { return all(1.0F) / (all(1.0F) + exponential(-x)); }

}  // namespace fedclock::nn
