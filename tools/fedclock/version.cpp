#include <fmt/format.h>

#include "models/learning/numerics.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/pin_kernels.h"

namespace fedclock::tools {

namespace {

// The libraries name their kernels only once they have chosen them: so PORTABLE's are pinned first.
void print_version(char** argv) {
  std::string portable = "needs a processor with AVX2, which this one is not";
  if (__builtin_cpu_supports("avx2")) {
    pin_kernels(KernelChoice::kPortable, argv);
    portable =
        learning::learning_libraries("portable", nn::Precision::kFp32, learning::Device::kCpu);
  }
  fmt::print("fedclock {}\n", FEDCLOCK_VERSION);
  fmt::print("numerics: PORTABLE, the default   {}\n", portable);
  fmt::print("numerics: NATIVE                  differs: the fastest kernels of this machine\n");
}

}  // namespace

void add_version(CLI::App& program, char** argv) {
  CLI::App* command = program.add_subcommand(
      "version", "Print the version, and the libraries that numbers depend on");
  command->callback([argv] { print_version(argv); });
}

}  // namespace fedclock::tools
