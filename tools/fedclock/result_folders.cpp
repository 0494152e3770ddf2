#include "tools/fedclock/result_folders.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "models/common/error.h"
#include "models/data/text_file.h"

namespace fedclock::tools {

namespace {

// Places of a sweep's points in its table, by their names; empty where there is no table.
std::map<std::string, size_t> places_in_sweep(const std::filesystem::path& folder) {
  std::map<std::string, size_t> places;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(folder / "sweep.csv", ignored)) return places;
  data::for_each_csv_record(data::read_text_file(folder / "sweep.csv"),
                            [&](const std::vector<std::string>& fields, int64_t) {
                              places.emplace(fields.front(), places.size());
                            });
  return places;
}

}  // namespace

std::vector<ResultFolder> results_in(const std::filesystem::path& folder) {
  std::vector<ResultFolder> found;
  std::error_code error;
  for (auto entry = std::filesystem::recursive_directory_iterator(folder, error);
       !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    if (entry->path().filename() != "result.pb") continue;
    const std::filesystem::path one = entry->path().parent_path();
    found.push_back({one, std::filesystem::relative(one, folder).generic_string()});
  }
  const std::map<std::string, size_t> places = places_in_sweep(folder);
  std::ranges::sort(found, {}, [&](const ResultFolder& one) {
    const auto place = places.find(one.name);
    return std::pair(place == places.end() ? places.size() : place->second, one.name);
  });
  if (!found.empty() && !error) return found;
  throw InputError(
      fmt::format("{}: {}: give the --out folder of a finished run, of a sweep or of a suite",
                  folder.string(), error ? error.message() : "holds no result of fedclock"));
}

}  // namespace fedclock::tools
