#include "models/learning/numerics.h"

#include <ATen/Version.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <torch/csrc/api/include/torch/version.h>

#include <filesystem>

#include "models/common/error.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

// The file from which sgemm, which libtorch calls, really comes: Debian chooses it by a link.
std::string blas_file() {
  Dl_info info{};
  void* sgemm = dlsym(RTLD_DEFAULT, "sgemm_");
  if (sgemm == nullptr || dladdr(sgemm, &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code error;
  const auto real = std::filesystem::canonical(info.dli_fname, error);
  return error ? info.dli_fname : real.string();
}

std::string openblas_text(const char* function) {
  auto* get = reinterpret_cast<const char* (*)()>(dlsym(RTLD_DEFAULT, function));
  return get == nullptr ? "" : get();
}

// "OpenBLAS 0.3.21 (Haswell)" out of OpenBLAS's longer description of itself.
std::string blas_name() {
  if (blas_file().find("openblas") == std::string::npos) return blas_file();
  const std::string config = openblas_text("openblas_get_config");  // "OpenBLAS 0.3.21 NO_... "
  const size_t end = config.find(' ', config.find(' ') + 1);
  return fmt::format("{} ({})", config.substr(0, end), openblas_text("openblas_get_corename"));
}

// "AVX2" out of the line "  - CPU capability usage: AVX2" of libtorch's description of itself.
std::string cpu_capability() {
  const std::string config = at::show_config();
  const std::string label = "CPU capability usage: ";
  const size_t at = config.find(label);
  if (at == std::string::npos) return "unknown capability";
  const size_t begin = at + label.size();
  return config.substr(begin, config.find('\n', begin) - begin);
}

}  // namespace

std::string numeric_libraries(const std::string& mode) {
  return fmt::format("{}; libtorch {} ({}); {}", mode, TORCH_VERSION, cpu_capability(),
                     blas_name());
}

void refuse_reference_blas() {
  const std::string file = blas_file();
  for (const char* fast : {"openblas", "mkl", "blis", "atlas"}) {
    if (file.find(fast) != std::string::npos) return;
  }
  throw InputError(fmt::format(
      "matrix products would run on the reference BLAS ({}), 20 times slower than OpenBLAS: "
      "install the Debian package libopenblas0-pthread (tools/setup does), and choose it with "
      "`update-alternatives --config libblas.so.3-x86_64-linux-gnu` where another one was chosen",
      file.empty() ? "not found" : file));
}

}  // namespace fedclock::learning
