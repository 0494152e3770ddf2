// Angles of rotary positions (Su et al., 2104.09864), with Llama 3's scaling of long waves.
#pragma once

#include <vector>

#include "models/nn/architecture.h"

namespace fedclock::nn {

struct RotaryAngles {
  std::vector<float> cos, sin;  // [max_tokens, head_width / 2]
};

// Of position t and pair i: t * theta^(-2i / head_width), slowed down for long waves where the
// architecture says so (frequencies between its two limits are interpolated).
RotaryAngles rotary_angles(const Architecture& architecture);

}  // namespace fedclock::nn
