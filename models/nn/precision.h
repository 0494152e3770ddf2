// In which precision the base's frozen weights are multiplied.
#pragma once

namespace fedclock::nn {

// Of products with frozen weights; adapters are float32 in any case.
enum class Precision { kFp32, kBf16 };

}  // namespace fedclock::nn
