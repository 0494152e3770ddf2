#include "tools/fedclock/result_folders.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/common/error.h"

namespace fedclock::tools {

std::vector<ResultFolder> results_in(const std::filesystem::path& folder) {
  std::vector<ResultFolder> found;
  std::error_code error;
  for (auto entry = std::filesystem::recursive_directory_iterator(folder, error);
       !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    if (entry->path().filename() != "result.pb") continue;
    const std::filesystem::path one = entry->path().parent_path();
    found.push_back({one, std::filesystem::relative(one, folder).generic_string()});
  }
  std::ranges::sort(found, {}, &ResultFolder::name);
  if (!found.empty() && !error) return found;
  throw InputError(
      fmt::format("{}: {}: give the --out folder of a finished run, of a sweep or of a suite",
                  folder.string(), error ? error.message() : "holds no result of fedclock"));
}

}  // namespace fedclock::tools
