// Which libraries and kernels the numbers come from: part of every base and result.
#pragma once

#include <string>

#include "models/learning/settings.h"
#include "models/nn/precision.h"

namespace fedclock::learning {

// What pretraining, by stock libtorch operators on the CPU, computes with: for instance "portable;
// libtorch 1.13.1 (AVX2); OpenBLAS 0.3.21 (Haswell)". `mode` is "portable" or "native".
std::string pretraining_libraries(const std::string& mode);
// What training and evaluation compute with: the same, "; oneDNN 2.6.3 (AVX2)", and what is not
// the default: "; BF16", "; stock operators", "; CUDA".
std::string learning_libraries(const std::string& mode, nn::Precision precision, Device device);

// Throws InputError, with the remedy, where this machine cannot learn so: no AVX2 for Device::kCpu,
// no AMX for BF16 there, no CUDA device or a libtorch without CUDA for Device::kCuda; and for BF16
// by stock operators, or CUDA with portable numerics.
void require_hardware(const std::string& mode, nn::Precision precision, Device device);

// Throws InputError, naming the Debian package, where matrix products would run on the reference
// BLAS: it is 20 times slower than OpenBLAS.
void refuse_reference_blas();

}  // namespace fedclock::learning
