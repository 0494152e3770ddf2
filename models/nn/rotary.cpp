#include "models/nn/rotary.h"

#include <cmath>
#include <numbers>

namespace fedclock::nn {

namespace {

std::vector<double> frequencies(const Architecture& a) {
  std::vector<double> all;
  for (int64_t i = 0; i < a.head_width / 2; ++i) {
    double frequency =
        std::pow(a.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(a.head_width));
    if (a.rope_scaling) {
      const auto& s = *a.rope_scaling;
      const double turns = s.original_max_tokens * frequency / (2.0 * std::numbers::pi);
      if (turns < s.low_frequency_factor) {
        frequency /= s.factor;
      } else if (turns < s.high_frequency_factor) {
        const double smooth =
            (turns - s.low_frequency_factor) / (s.high_frequency_factor - s.low_frequency_factor);
        frequency = (1.0 - smooth) * frequency / s.factor + smooth * frequency;
      }
    }
    all.push_back(frequency);
  }
  return all;
}

}  // namespace

RotaryAngles rotary_angles(const Architecture& a) {
  const std::vector<double> all = frequencies(a);
  RotaryAngles angles;
  for (int64_t t = 0; t < a.max_tokens; ++t) {
    for (const double frequency : all) {
      const double angle = static_cast<double>(t) * frequency;
      angles.cos.push_back(static_cast<float>(std::cos(angle)));
      angles.sin.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return angles;
}

}  // namespace fedclock::nn
