#include <fmt/format.h>

#include "models/learning/numerics.h"
#include "tools/fedclock/commands.h"

namespace fedclock::tools {

void add_version(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("version", "Print the version, and the libraries that numbers depend on");
  command->callback([] {
    fmt::print("fedclock {}\n{}\n", FEDCLOCK_VERSION, learning::numeric_libraries("this process"));
  });
}

}  // namespace fedclock::tools
