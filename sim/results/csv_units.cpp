#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "models/common/error.h"
#include "sim/results/exports.h"

namespace fedclock::results {

namespace {

bool is_one_of(std::string_view column, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), column) != names.end();
}

// By the column's name, which says its unit last or is one of few; empty for text.
std::string_view unit_of(std::string_view column) {
  if (is_one_of(column, {"device", "phase", "end"})) return "";
  if (column.ends_with("_s")) return "s";
  if (column.ends_with("_j") || column == "joules") return "J";
  if (is_one_of(column, {"bytes", "bytes_up", "bytes_down", "lost_bytes_up", "lost_bytes_down"})) {
    return "B";
  }
  if (is_one_of(column, {"loss", "train_loss"})) return "nat";
  // Shares, counts and numbers of things.
  if (is_one_of(column,
                {"accuracy", "client_accuracy", "round", "client", "clients", "depth", "train_rows",
                 "critical", "dropped", "rank", "group", "parts", "staleness", "experts"})) {
    return "1";
  }
  throw ProgrammerError("a column without a known unit: " + std::string(column));
}

}  // namespace

std::string with_units(const std::string& csv) {
  const size_t end = std::min(csv.find('\n'), csv.size());
  std::string header;
  for (size_t begin = 0; begin <= end;) {
    const size_t comma = std::min(csv.find(',', begin), end);
    const std::string column = csv.substr(begin, comma - begin);
    const std::string_view unit = unit_of(column);
    header += column;
    if (!unit.empty()) header += " [" + std::string(unit) + "]";
    if (comma < end) header += ',';
    begin = comma + 1;
  }
  return header + csv.substr(end);
}

}  // namespace fedclock::results
