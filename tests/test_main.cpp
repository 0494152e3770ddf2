// The main of every test program: pins the numeric kernels first, as the program does.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include "tools/fedclock/pin_kernels.h"

int main(int argc, char** argv) {
  fedclock::pin_kernels(fedclock::KernelChoice::kPortable, argv);
  return Catch::Session().run(argc, argv);
}
