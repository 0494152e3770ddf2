// Pins the numeric kernels before the libraries choose them for themselves: ATen, OpenBLAS and
// oneDNN look at the processor (and the environment) once, when they load. So the program sets
// the environment it wants and executes itself again.
#pragma once

namespace fedclock {

enum class KernelChoice {
  kPortable,  // the same bits on every x86-64 machine with AVX2
  kNative,    // the fastest kernels of this machine
};

// Returns at once where the environment is already right; otherwise replaces this process by
// itself with the right environment. Throws std::runtime_error where the program cannot be executed
// again.
void pin_kernels(KernelChoice choice, char** argv);

}  // namespace fedclock
