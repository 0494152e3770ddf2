#include "sim/scenario/location.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "models/common/error.h"

namespace fedclock::scenario {

std::string Location::text() const {
  if (line == 0) return file;
  return file + ":" + std::to_string(line) + ":" + std::to_string(column);
}

void Locations::set(const std::string& path, Location location) { at_[path] = std::move(location); }

bool Locations::has(const std::string& path) const { return at_.contains(path); }

Location Locations::find(std::string_view path) const {
  while (true) {
    const auto found = at_.find(std::string(path));
    if (found != at_.end()) return found->second;
    if (path.empty()) return {};
    const std::size_t end = path.find_last_of(".[");
    path = path.substr(0, end == std::string_view::npos ? 0 : end);
  }
}

// True where `path` is `root` or lies in it.
static bool lies_in(std::string_view path, std::string_view root) {
  if (!path.starts_with(root)) return false;
  if (path.size() == root.size() || root.empty()) return true;
  return path[root.size()] == '.' || path[root.size()] == '[';
}

void Locations::erase_under(const std::string& path) {
  std::erase_if(at_, [&](const auto& entry) { return lies_in(entry.first, path); });
}

void Locations::add_below(const std::string& prefix, const Locations& lower) {
  std::vector<std::pair<std::string, Location>> added;
  for (const auto& [path, location] : lower.at_) {
    if (!lies_in(path, prefix) || has(path)) continue;
    bool replaced = false;  // by a list of ours
    for (std::size_t i = path.find('[', prefix.size() + 1); i != std::string::npos;
         i = path.find('[', i + 1)) {
      replaced = replaced || has(path.substr(0, i));
    }
    if (!replaced) added.emplace_back(path, location);
  }
  at_.insert(added.begin(), added.end());
}

std::string Problem::text() const {
  std::string line = where.text();
  for (const std::string& part : {path, value, message}) {
    if (part.empty()) continue;
    if (!line.empty()) line += ": ";
    line += part;
  }
  return line;
}

void Problems::add(std::string path, std::string value, std::string message) {
  Location where = locations_.find(path);
  add_at(std::move(where), std::move(path), std::move(value), std::move(message));
}

void Problems::add_at(Location where, std::string path, std::string value, std::string message) {
  Problem problem{std::move(where), std::move(path), std::move(value), std::move(message)};
  // A file that two others extend is read twice, and its problems are found twice.
  if (std::find(problems_.begin(), problems_.end(), problem) != problems_.end()) return;
  problems_.push_back(std::move(problem));
}

bool Problems::covers(const std::string& path) const {
  if (excused_.contains(path)) return true;
  return std::any_of(problems_.begin(), problems_.end(),
                     [&](const Problem& problem) { return problem.path == path; });
}

std::string Problems::text() const {
  std::vector<Problem> sorted = problems_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Problem& a, const Problem& b) {
    return std::tie(a.where.file, a.where.line, a.where.column) <
           std::tie(b.where.file, b.where.line, b.where.column);
  });
  std::string text;
  for (const Problem& problem : sorted) {
    if (!text.empty()) text += '\n';
    text += problem.text();
  }
  return text;
}

void Problems::throw_if_any() const {
  if (!empty()) throw InputError(text());
}

std::string join_path(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : path + "." + std::string(name);
}

std::string item_path(const std::string& path, int index) {
  return path + "[" + std::to_string(index) + "]";
}

}  // namespace fedclock::scenario
