#include "tools/fedclock/pin_kernels.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace fedclock {

namespace {

struct Setting {
  const char* name;
  const char* portable;
  const char* native;  // nullptr: unset
};

// One thread a job: OpenBLAS and OpenMP split sums by the number of threads, which changes bits.
constexpr Setting kSettings[] = {
    {"ATEN_CPU_CAPABILITY", "avx2", nullptr},
    {"OPENBLAS_CORETYPE", "Haswell", nullptr},
    {"ONEDNN_MAX_CPU_ISA", "AVX2", nullptr},
    {"DNNL_MAX_CPU_ISA", nullptr, nullptr},
    {"OPENBLAS_NUM_THREADS", "1", "1"},
    {"OMP_NUM_THREADS", "1", "1"},
    {"MKL_NUM_THREADS", "1", "1"},
    {"OMP_DYNAMIC", "FALSE", "FALSE"},
};

}  // namespace

void pin_kernels(KernelChoice choice, char** argv) {
  bool changed = false;
  for (const Setting& setting : kSettings) {
    const char* want = choice == KernelChoice::kPortable ? setting.portable : setting.native;
    const char* have = std::getenv(setting.name);
    if (want == nullptr ? have == nullptr : have != nullptr && std::strcmp(want, have) == 0) {
      continue;
    }
    changed = true;
    if (want == nullptr) {
      unsetenv(setting.name);
    } else {
      setenv(setting.name, want, 1);
    }
  }
  if (!changed) return;
  // The real path, so that the process keeps its name in `ps`.
  std::array<char, 4096> path{};
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size() - 1);
  if (length > 0) execv(path.data(), argv);
  throw std::runtime_error(std::string("cannot execute this program again: ") +
                           std::strerror(errno));
}

}  // namespace fedclock
