// Rows of JSON Lines files and records of tables with a header line, with the errors that name
// file, line and field. `chosen_by` is the scenario's field that chooses a field of the rows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "models/data/text_file.h"

namespace fedclock::data {

// One line of a JSON Lines file. `file` must outlive the row.
class JsonRow {
 public:
  // Throws InputError when the line is not a JSON object.
  JsonRow(const std::filesystem::path& file, std::string_view line, int64_t number);

  // Value of a field. Throws InputError when it is missing.
  const nlohmann::json& at(const std::string& field, std::string_view chosen_by) const;
  // A string; else InputError.
  std::string text(const std::string& field, std::string_view chosen_by) const;
  // A string or an integer, as a string; else InputError.
  std::string name(const std::string& field, std::string_view chosen_by) const;
  [[noreturn]] void fail(const std::string& field, const nlohmann::json& value,
                         std::string_view remedy) const;

  const nlohmann::json& object() const { return object_; }

 private:
  const std::filesystem::path& file_;
  int64_t line_;
  nlohmann::json object_;
};

using Record = std::vector<std::string>;
using RecordVisitor = std::function<void(const Record& header, const Record& record, int64_t line)>;

// Calls visit for each record of a .csv or .tsv file after the header. Throws InputError for a
// record that has not as many fields as the header, and for a header that has a name twice.
void for_each_record(const TextFile& file, const RecordVisitor& visit);

// Position of a column; -1 for an empty name. Throws InputError when there is none of the name.
int column_of(const TextFile& file, const Record& header, const std::string& field,
              std::string_view chosen_by);

}  // namespace fedclock::data
