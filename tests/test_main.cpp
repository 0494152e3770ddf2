// The main of every test program: pins the numeric kernels first, as the program does: the portable
// ones, or with FEDCLOCK_TEST_NATIVE=1 the fastest of this machine.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#include <cstdlib>

#include "tools/fedclock/pin_kernels.h"

int main(int argc, char** argv) {
  const bool native = std::getenv("FEDCLOCK_TEST_NATIVE") != nullptr;
  fedclock::pin_kernels(
      native ? fedclock::KernelChoice::kNative : fedclock::KernelChoice::kPortable, argv);
  return Catch::Session().run(argc, argv);
}
