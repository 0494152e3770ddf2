// Plain text for pretraining and for tokenisers (readers.h).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "models/common/error.h"
#include "models/data/readers.h"
#include "models/data/table_records.h"
#include "models/data/text_file.h"

namespace fedclock::data {

namespace {

bool is_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// Collects the texts of files, and which of the named fields were met.
class CorpusReader {
 public:
  explicit CorpusReader(const std::vector<std::string>& fields)
      : fields_(fields), met_(fields.size(), false) {}

  void read(const TextFile& file) {
    const std::string kind = file.path.extension().string();
    if (kind == ".jsonl" || kind == ".tsv" || kind == ".csv") require_utf8(file);
    if (kind == ".txt") {
      for_each_line(file, [&](std::string_view line, int64_t) { add(std::string(line)); });
    } else if (kind == ".jsonl") {
      has_tables_ = true;
      for_each_line(file, [&](std::string_view line, int64_t number) {
        if (!line.empty()) add_object(JsonRow(file.path, line, number).object());
      });
    } else if (kind == ".tsv" || kind == ".csv") {
      has_tables_ = true;
      for_each_record(file, [&](const Record& header, const Record& record, int64_t) {
        for (size_t i = 0; i < record.size(); ++i) {
          if (fields_.empty() ? !is_number(record[i]) : is_named(header[i])) add(record[i]);
        }
      });
    } else {
      throw InputError(
          fmt::format("{}: unknown kind of file '{}': give a corpus as .txt, .jsonl, "
                      ".tsv or .csv",
                      file.path.string(), kind));
    }
  }

  std::vector<std::string> finish() && {
    for (size_t i = 0; has_tables_ && i < fields_.size(); ++i) {
      if (met_[i]) continue;
      throw InputError(
          fmt::format("field '{}': no row of the corpus files has it: correct "
                      "model.pretrain.files.fields",
                      fields_[i]));
    }
    return std::move(texts_);
  }

 private:
  void add(std::string text) {
    if (text.find_first_not_of(" \t\r\n") != text.npos) texts_.push_back(std::move(text));
  }

  // In the order of the fields as they were asked for; otherwise by name.
  void add_object(const nlohmann::json& object) {
    if (fields_.empty()) {
      for (const nlohmann::json& value : object) {
        if (value.is_string()) add(value.get<std::string>());
      }
      return;
    }
    for (const std::string& field : fields_) {
      const auto found = object.find(field);
      if (found == object.end() || !found->is_string()) continue;
      is_named(field);
      add(found->get<std::string>());
    }
  }

  bool is_named(const std::string& field) {
    const auto found = std::find(fields_.begin(), fields_.end(), field);
    if (found == fields_.end()) return false;
    met_[static_cast<size_t>(found - fields_.begin())] = true;
    return true;
  }

  const std::vector<std::string>& fields_;
  std::vector<bool> met_;
  bool has_tables_ = false;
  std::vector<std::string> texts_;
};

}  // namespace

std::vector<std::string> read_corpus(const std::vector<std::filesystem::path>& files,
                                     const std::vector<std::string>& fields,
                                     int64_t max_bytes_per_file) {
  CorpusReader reader(fields);
  for (const auto& file : files) reader.read(read_text_file(file, max_bytes_per_file));
  return std::move(reader).finish();
}

}  // namespace fedclock::data
