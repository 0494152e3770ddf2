#include "models/data/table_records.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "models/common/error.h"

namespace fedclock::data {

using nlohmann::json;

JsonRow::JsonRow(const std::filesystem::path& file, std::string_view line, int64_t number)
    : file_(file), line_(number) {
  try {
    object_ = json::parse(line);
  } catch (const json::parse_error& error) {
    throw InputError(fmt::format("{}:{}: not JSON near byte {}: write one JSON object a line",
                                 file.string(), number, error.byte));
  }
  if (!object_.is_object()) {
    throw InputError(fmt::format("{}:{}: {} is not an object: write one JSON object a line",
                                 file.string(), number, shown(line)));
  }
}

const json& JsonRow::at(const std::string& field, std::string_view chosen_by) const {
  const auto found = object_.find(field);
  if (found != object_.end()) return *found;
  std::vector<std::string> names;
  for (const auto& item : object_.items()) names.push_back("'" + item.key() + "'");
  fail_in_field(file_, line_, field, "missing",
                fmt::format("the row has {}: add it, or choose another field by {}",
                            fmt::join(names, ", "), chosen_by));
}

std::string JsonRow::text(const std::string& field, std::string_view chosen_by) const {
  const json& value = at(field, chosen_by);
  if (!value.is_string()) fail(field, value, "write a string");
  return value.get<std::string>();
}

std::string JsonRow::name(const std::string& field, std::string_view chosen_by) const {
  const json& value = at(field, chosen_by);
  if (value.is_number_integer()) return value.dump();
  if (!value.is_string()) fail(field, value, "write a string or an integer");
  return value.get<std::string>();
}

void JsonRow::fail(const std::string& field, const json& value, std::string_view remedy) const {
  fail_in_field(file_, line_, field, "value " + shown(value.dump()), remedy);
}

namespace {

// What a header looks like that was split at the wrong character.
std::string separator_hint(const TextFile& file, const Record& header) {
  if (header.size() != 1) return {};
  const bool csv = file.path.extension() == ".csv";
  if (header[0].find(csv ? '\t' : ',') == std::string::npos) return {};
  return fmt::format(" (the header is one field that holds {}: is it a {}?)",
                     csv ? "tabs" : "commas", csv ? ".tsv" : ".csv");
}

}  // namespace

void for_each_record(const TextFile& file, const RecordVisitor& visit) {
  const std::string path = file.path.string();
  Record header;
  const auto take = [&](const Record& record, int64_t line) {
    if (header.empty()) {
      header = record;
      for (const std::string& name : header) {
        if (std::count(header.begin(), header.end(), name) == 1) continue;
        fail_in_field(file.path, line, name, "the header has it twice", "rename one of them");
      }
    } else if (record.size() != header.size()) {
      throw InputError(fmt::format(
          "{}:{}: {} fields, but the header has {}: write every field, {}{}", path, line,
          record.size(), header.size(),
          file.path.extension() == ".csv" ? "in double quotes where it holds a comma or a line end"
                                          : "without tabs inside of it",
          separator_hint(file, header)));
    } else {
      visit(header, record, line);
    }
  };
  if (file.path.extension() == ".csv") {
    for_each_csv_record(file, take);
  } else {
    for_each_line(file, [&](std::string_view line, int64_t number) {
      if (!line.empty()) take(split_tabs(line), number);
    });
  }
}

int column_of(const TextFile& file, const Record& header, const std::string& field,
              std::string_view chosen_by) {
  if (field.empty()) return -1;
  const auto found = std::find(header.begin(), header.end(), field);
  if (found != header.end()) return static_cast<int>(found - header.begin());
  fail_in_field(file.path, 1, field, "missing",
                fmt::format("the header has '{}': choose another column by {}{}",
                            fmt::join(header, "', '"), chosen_by, separator_hint(file, header)));
}

}  // namespace fedclock::data
