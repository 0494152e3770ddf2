#include "sim/scenario/grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "models/common/error.h"

namespace fedclock::scenario {

namespace {

// Parts between separators that stand outside of brackets, braces and quotes.
std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  int depth = 0;
  char quote = 0;
  for (const char c : text) {
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == separator && depth == 0) {
      parts.emplace_back();
      continue;
    }
    parts.back() += c;
  }
  return parts;
}

// As much of the path's end as no other of the paths has: "up_mbit_s" of
// "platform.devices[0].network.up_mbit_s"; "devices[0].count" where "devices[1].count" varies too.
std::string short_path(const std::string& path, const std::set<std::string>& paths) {
  for (size_t dot = path.rfind('.'); dot != std::string::npos && dot > 0;
       dot = path.rfind('.', dot - 1)) {
    const bool unique = std::ranges::none_of(paths, [&](const std::string& other) {
      return other != path && ("." + other).ends_with(path.substr(dot));
    });
    if (unique) return path.substr(dot + 1);
  }
  return path;
}

std::string folder_name(std::string text) {
  for (char& c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                       std::string_view("._-=,[]:").find(c) != std::string_view::npos;
    if (!plain) c = '_';
  }
  constexpr size_t kMost = 150;  // file systems allow 255
  return text.substr(0, kMost);
}

}  // namespace

Axis parse_axis(const std::string& option, const std::string& text) {
  const auto fail = [&](const std::string& why) {
    throw InputError(fmt::format("{} {}: {}", option, text, why));
  };
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    fail("write PATH=VALUE,VALUE,..., such as platform.devices[0].count=10,20");
  }
  Axis axis;
  axis.paths = split(text.substr(0, equals), ',');
  std::set<std::string> seen;
  for (const std::string& value : split(text.substr(equals + 1), ',')) {
    if (value.empty()) fail("a value is empty: write a value between every two commas");
    if (!seen.insert(value).second) fail(fmt::format("{} stands there twice", value));
    axis.steps.push_back(axis.paths.size() == 1 ? std::vector{value} : split(value, ':'));
    if (axis.steps.back().size() == axis.paths.size()) continue;
    fail(fmt::format("{} has {} parts for {} fields: separate them by colons", value,
                     axis.steps.back().size(), axis.paths.size()));
  }
  return axis;
}

std::vector<GridPoint> grid(const std::vector<Axis>& axes) {
  std::set<std::string> paths;
  std::vector<GridPoint> points(1);
  for (const Axis& axis : axes) {
    for (const std::string& path : axis.paths) {
      if (paths.insert(path).second) continue;
      throw InputError(fmt::format("{} varies twice: give all of its values in one place", path));
    }
  }
  for (const Axis& axis : axes) {
    std::vector<GridPoint> longer;
    for (const GridPoint& point : points) {
      for (const std::vector<std::string>& step : axis.steps) {
        GridPoint& added = longer.emplace_back(point);
        for (size_t i = 0; i < step.size(); ++i) {
          added.values.push_back(step[i]);
          added.overrides.push_back(axis.paths[i] + "=" + step[i]);
          if (!added.name.empty()) added.name += ",";
          added.name += short_path(axis.paths[i], paths) + "=" + step[i];
        }
      }
    }
    points = std::move(longer);
  }
  std::set<std::string> names;
  for (size_t i = 0; i < points.size(); ++i) {
    points[i].name = folder_name(points[i].name.empty() ? "point" : points[i].name);
    // Values that differ only in what a folder's name cannot hold.
    if (!names.insert(points[i].name).second) points[i].name += fmt::format("-{}", i + 1);
  }
  return points;
}

}  // namespace fedclock::scenario
