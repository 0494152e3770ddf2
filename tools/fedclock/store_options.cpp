#include "tools/fedclock/store_options.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "models/common/error.h"

namespace fedclock::tools {

namespace {

std::filesystem::path path_in(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

}  // namespace

void add_store_file_option(CLI::App& command, StoreChoice& choice) {
  command.add_option("--store", choice.file,
                     "File that keeps what was learnt, for all runs [default: the environment "
                     "variable FEDCLOCK_STORE, else ~/.cache/fedclock/store.sqlite]");
}

void add_store_options(CLI::App& command, StoreChoice& choice) {
  add_store_file_option(command, choice);
  command.add_flag("--no-store", choice.off, "Keep nothing, know nothing: learn it all again");
  command.add_option("--store-limit", choice.limit,
                     "Room for adapters and updates in the store, such as 500MB; losses and "
                     "accuracies are kept for ever [default: 4GiB]");
}

std::filesystem::path store_path(const StoreChoice& choice) {
  if (!choice.file.empty()) return choice.file;
  const std::filesystem::path set = path_in("FEDCLOCK_STORE");
  if (!set.empty()) return set;
  const std::filesystem::path cache = cache_folder();
  return cache.empty() ? cache : cache / "store.sqlite";
}

int64_t parse_bytes(const std::string& option, const std::string& text) {
  constexpr std::array<std::pair<const char*, double>, 10> kUnits = {{{"", 1},
                                                                      {"B", 1},
                                                                      {"kB", 1e3},
                                                                      {"MB", 1e6},
                                                                      {"GB", 1e9},
                                                                      {"TB", 1e12},
                                                                      {"KiB", 0x1p10},
                                                                      {"MiB", 0x1p20},
                                                                      {"GiB", 0x1p30},
                                                                      {"TiB", 0x1p40}}};
  double number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit(end, text.data() + text.size());
  unit.erase(0, unit.find_first_not_of(' ') == std::string::npos ? unit.size()
                                                                 : unit.find_first_not_of(' '));
  for (const auto& [name, bytes] : kUnits) {
    if (error == std::errc() && unit == name && number >= 0 && number * bytes < 1e18) {
      return static_cast<int64_t>(number * bytes);
    }
  }
  throw InputError(
      fmt::format("{}: {}: write a number of bytes, such as 500MB, 4GiB or 0", option, text));
}

std::filesystem::path cache_folder() {
  const std::filesystem::path cache = path_in("FEDCLOCK_CACHE");
  if (!cache.empty()) return cache;
  const std::filesystem::path home = path_in("HOME");
  return home.empty() ? home : home / ".cache" / "fedclock";
}

}  // namespace fedclock::tools
