#include "models/learning/numerics.h"

#include <ATen/Version.h>
#include <dlfcn.h>
#include <dnnl.h>
#include <fmt/format.h>
#include <torch/csrc/api/include/torch/version.h>

#include <filesystem>
#include <fstream>

#include "models/common/error.h"
#include "models/nn/bf16_product.h"
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

// Of the instructions that oneDNN may use; its passes are ours too (models/nn/passes.h).
std::string dnnl_isa_name() {
  switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_avx2: return "AVX2";
    case dnnl_cpu_isa_avx2_vnni: return "AVX2 VNNI";
    case dnnl_cpu_isa_avx512_core: return "AVX512";
    case dnnl_cpu_isa_avx512_core_vnni: return "AVX512 VNNI";
    case dnnl_cpu_isa_avx512_core_bf16: return "AVX512 BF16";
    case dnnl_cpu_isa_avx512_core_amx: return "AVX512 AMX";
    default: return fmt::format("{:#x}", static_cast<int>(dnnl_get_effective_cpu_isa()));
  }
}

// "NVIDIA H200", as the driver has it; of several, all.
std::string gpu_names() {
  std::string names;
  std::error_code error;
  for (const auto& gpu : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", error)) {
    std::ifstream information(gpu.path() / "information");
    for (std::string line; std::getline(information, line);) {
      const size_t value = line.find_first_not_of(" \t", line.find(':') + 1);
      if (!line.starts_with("Model:") || value == std::string::npos) continue;
      names += (names.empty() ? "" : ", ") + line.substr(value);
    }
  }
  return names.empty() ? "device" : names;
}

}  // namespace

std::string pretraining_libraries(const std::string& mode) {
  return fmt::format("{}; libtorch {} ({}); {}", mode, TORCH_VERSION, cpu_capability(),
                     blas_name());
}

std::string learning_libraries(const std::string& mode, nn::Precision precision, Device device) {
  const dnnl_version_t* dnnl = dnnl_version();
  return fmt::format("{}; oneDNN {}.{}.{} ({}){}{}{}", pretraining_libraries(mode), dnnl->major,
                     dnnl->minor, dnnl->patch, dnnl_isa_name(),
                     precision == nn::Precision::kBf16 ? "; BF16" : "",
                     device == Device::kCpu ? "" : "; stock operators",
                     device == Device::kCuda ? "; CUDA " + gpu_names() : "");
}

void require_hardware(const std::string& mode, nn::Precision precision, Device device) {
  if (device == Device::kCuda && !at::hasCUDA()) {
    throw InputError(
        "--device cuda: there is no CUDA device, or this libtorch was built without CUDA (as "
        "Debian's is): build fedclock where CMake finds a libtorch with CUDA, on a machine with an "
        "NVIDIA GPU, or leave the option out");
  }
  if (device == Device::kCuda && mode == "portable") {
    throw InputError(
        "--device cuda: gives other bits on other machines: set numerics: NATIVE, or leave the "
        "option out");
  }
  if (device == Device::kCpu && !__builtin_cpu_supports("avx2")) {
    throw InputError(
        "this processor has no AVX2, which the learning needs: choose another machine, or "
        "--timing-only");
  }
  if (precision != nn::Precision::kBf16) return;
  if (device != Device::kCpu) {
    throw InputError(
        "precision: BF16 is for --device cpu alone: write FP32, or leave the option out");
  }
  if (!nn::has_fast_bf16()) {
    throw InputError(
        "precision: BF16: this processor has no AMX, which multiplies bfloat16: write FP32, or "
        "choose another machine");
  }
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
