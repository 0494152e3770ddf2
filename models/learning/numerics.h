// Which libraries and kernels the numbers come from: part of every base and result.
#pragma once

#include <string>

namespace fedclock::learning {

// For instance "portable; libtorch 1.13.1 (AVX2); OpenBLAS 0.3.21 (Haswell); oneDNN 2.7.0".
// `mode` is "portable" or "native".
std::string numeric_libraries(const std::string& mode);

// Throws InputError, naming the Debian package, where matrix products would run on the reference
// BLAS: it is 20 times slower than OpenBLAS.
void refuse_reference_blas();

}  // namespace fedclock::learning
