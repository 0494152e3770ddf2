// Vectors of floats for the files *_in_lanes.cpp alone, which are compiled once for AVX2 (8
// lanes) and once for AVX-512 (16): FEDCLOCK_LANES names the namespace of each.
//
// Sums over a row run in lanes that are added up in a fixed order, so that the same input gives the
// same bits on every machine that runs the same of the two.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <limits>

namespace fedclock::nn::FEDCLOCK_LANES {

// How many lanes of a vector are meant: all, or the first few at the end of a row.
struct AllLanes {};
struct SomeLanes {
  int64_t count;
};

#ifdef __AVX512F__
using Vector = __m512;
inline constexpr int64_t kLanes = 16;

inline __mmask16 mask(SomeLanes lanes) {
  return static_cast<__mmask16>((1U << static_cast<unsigned>(lanes.count)) - 1U);
}
inline Vector all(float x) { return _mm512_set1_ps(x); }
inline Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
inline Vector larger(Vector a, Vector b) { return _mm512_max_ps(a, b); }
inline Vector smaller(Vector a, Vector b) { return _mm512_min_ps(a, b); }
inline Vector rounded(Vector x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// 2^n for whole n of -126 to 127, through the exponent's bits.
inline Vector power_of_two(Vector n) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}
inline Vector load(const float* from, AllLanes, float = 0) { return _mm512_loadu_ps(from); }
inline Vector load(const float* from, SomeLanes lanes, float rest = 0) {
  return _mm512_mask_loadu_ps(all(rest), mask(lanes), from);
}
inline void store(float* to, Vector x, AllLanes) { _mm512_storeu_ps(to, x); }
inline void store(float* to, Vector x, SomeLanes lanes) {
  _mm512_mask_storeu_ps(to, mask(lanes), x);
}
inline __m256 lower(Vector x) { return _mm512_castps512_ps256(x); }
inline __m256 upper(Vector x) {
  return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
}
#else
using Vector = __m256;
inline constexpr int64_t kLanes = 8;

inline __m256i mask(SomeLanes lanes) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(lanes.count)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Vector all(float x) { return _mm256_set1_ps(x); }
inline Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Vector larger(Vector a, Vector b) { return _mm256_max_ps(a, b); }
inline Vector smaller(Vector a, Vector b) { return _mm256_min_ps(a, b); }
inline Vector rounded(Vector x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// 2^n for whole n of -126 to 127, through the exponent's bits.
inline Vector power_of_two(Vector n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
inline Vector load(const float* from, AllLanes, float = 0) { return _mm256_loadu_ps(from); }
inline Vector load(const float* from, SomeLanes lanes, float rest = 0) {
  const __m256i meant = mask(lanes);
  return _mm256_blendv_ps(all(rest), _mm256_maskload_ps(from, meant), _mm256_castsi256_ps(meant));
}
inline void store(float* to, Vector x, AllLanes) { _mm256_storeu_ps(to, x); }
inline void store(float* to, Vector x, SomeLanes lanes) { _mm256_maskstore_ps(to, mask(lanes), x); }
#endif

// Calls work(first index, lanes) for all of [0, size).
template <typename Work>
inline void in_lanes(int64_t size, const Work& work) {
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) work(i, AllLanes{});
  if (i < size) work(i, SomeLanes{size - i});
}

inline float sum(__m256 x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
inline float largest(__m256 x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
#ifdef __AVX512F__
inline float sum(Vector x) { return sum(_mm256_add_ps(lower(x), upper(x))); }
inline float largest(Vector x) { return largest(_mm256_max_ps(lower(x), upper(x))); }
#endif

// e^x: x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 6 (relative
// error below 3e-7 in all). Below -87.3: 0, nearly; above 88: e^88. NaN stays NaN: of two operands
// of which one is NaN, the instructions take the second.
inline Vector exponential(Vector x) {
  x = smaller(all(88.0F), larger(all(-87.3F), x));
  const Vector n = rounded(x * all(1.44269504F));  // 1 / ln 2
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
  return p * power_of_two(n);
}

inline Vector sigmoid(Vector x) { return all(1.0F) / (all(1.0F) + exponential(-x)); }

// The upper halves of x's bits, rounded to nearest, ties to even, in 32 bits each.
inline __m256i rounded_to_bf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i no_number = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_srli_epi32(_mm256_blendv_epi8(up, bits, no_number), 16);
}
inline void store_bf16(uint16_t* to, __m256i x) {
  const __m128i packed =
      _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
}

}  // namespace fedclock::nn::FEDCLOCK_LANES
