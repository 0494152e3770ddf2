// The store that a command uses: --store, --no-store, --store-limit, and their defaults.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <string>

namespace fedclock::tools {

struct StoreChoice {
  std::string file;
  std::string limit = "4GiB";
  bool off = false;
};

void add_store_file_option(CLI::App& command, StoreChoice& choice);
// --store, --no-store and --store-limit.
void add_store_options(CLI::App& command, StoreChoice& choice);

// --store, else $FEDCLOCK_STORE, else store.sqlite in the cache folder. Empty: there is no place.
std::filesystem::path store_path(const StoreChoice& choice);

// Bytes of a text such as "4GiB", "500 MB" or "0". Throws InputError that names the option.
int64_t parse_bytes(const std::string& option, const std::string& text);

// $FEDCLOCK_CACHE, else ~/.cache/fedclock; empty where there is no home either.
std::filesystem::path cache_folder();

}  // namespace fedclock::tools
