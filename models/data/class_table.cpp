// The client x class table of a partition (partition.h), counted and printed.
#include <fmt/format.h>

#include <algorithm>

#include "models/common/error.h"
#include "models/data/partition.h"

namespace fedclock::data {

namespace {

constexpr size_t kMostNamedColumns = 16;
constexpr size_t kLongestHeader = 14;  // bytes

// At most kLongestHeader bytes of the name, cut between characters.
std::string header_of(const std::string& name) {
  size_t end = std::min(name.size(), kLongestHeader);
  while (end > 0 && end < name.size() && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) {
    --end;
  }
  return name.substr(0, end);
}

// The cells of a column are right-aligned under its header.
std::string format_cells(const std::vector<std::vector<std::string>>& lines) {
  std::vector<size_t> widths(lines[0].size(), 0);
  for (const auto& line : lines) {
    for (size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], line[c].size());
  }
  std::string text;
  for (const auto& line : lines) {
    for (size_t c = 0; c < line.size(); ++c) {
      text += fmt::format("{}{}{}", c == 0 ? "" : "  ",
                          std::string(widths[c] - line[c].size(), ' '), line[c]);
    }
    text += '\n';
  }
  return text;
}

}  // namespace

std::vector<std::vector<int64_t>> class_table(const Dataset& dataset, const Partition& partition) {
  std::vector<std::vector<int64_t>> table;
  for (const auto& rows : partition) {
    std::vector<int64_t> counts(dataset.classes.size(), 0);
    for (const int32_t row : rows) {
      ensure(row >= 0 && row < std::ssize(dataset.rows), "a row outside of the data");
      const int label = dataset.rows[row].label;
      if (label >= 0) ++counts.at(static_cast<size_t>(label));
    }
    table.push_back(std::move(counts));
  }
  return table;
}

std::string format_class_table(const Dataset& dataset, const Partition& partition) {
  const std::vector<std::vector<int64_t>> table = class_table(dataset, partition);
  const size_t classes = dataset.classes.size();
  const bool numbered = classes > kMostNamedColumns;

  std::vector<std::vector<std::string>> lines(1, {"client"});
  for (size_t c = 0; c < classes; ++c) {
    lines[0].push_back(numbered ? std::to_string(c) : header_of(dataset.classes[c]));
  }
  lines[0].push_back("rows");
  std::vector<int64_t> sums(classes + 1, 0);
  for (size_t i = 0; i < table.size(); ++i) {
    std::vector<std::string> line = {std::to_string(i)};
    for (size_t c = 0; c < classes; ++c) {
      line.push_back(std::to_string(table[i][c]));
      sums[c] += table[i][c];
    }
    line.push_back(std::to_string(partition[i].size()));
    sums[classes] += std::ssize(partition[i]);
    lines.push_back(std::move(line));
  }
  std::vector<std::string> line = {"all"};
  for (const int64_t sum : sums) line.push_back(std::to_string(sum));
  lines.push_back(std::move(line));

  std::string text = format_cells(lines);
  for (size_t c = 0; numbered && c < classes; ++c) {
    text += fmt::format("{} = {}\n", c, dataset.classes[c]);
  }
  return text;
}

}  // namespace fedclock::data
