#include "models/data/text_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "models/common/error.h"
#include "models/data/utf8.h"

namespace fedclock::data {

TextFile read_text_file(const std::filesystem::path& path, int64_t max_bytes) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in || std::filesystem::is_directory(path)) {
    throw InputError(fmt::format(
        "{}: no file that can be read: looked for '{}' in the folder '{}': put it there, or choose "
        "the folder by the scenario's `folder` beside the file's name, --data DIR or FEDCLOCK_DATA",
        path.string(), path.filename().string(), path.parent_path().string()));
  }
  const int64_t file_bytes = in.tellg();
  const int64_t bytes = max_bytes > 0 ? std::min(max_bytes, file_bytes) : file_bytes;
  TextFile file{path, std::string(static_cast<size_t>(bytes), '\0'), bytes < file_bytes};
  in.seekg(0);
  in.read(file.text.data(), bytes);
  if (in.gcount() != bytes) throw InputError(path.string() + ": reading failed: check the file");
  if (file.text.starts_with("\xEF\xBB\xBF")) file.text.erase(0, 3);
  return file;
}

void require_utf8(const TextFile& file) {
  const std::string_view text = file.text;
  const size_t end = file.cut ? text.rfind('\n') + 1 : text.size();  // npos + 1 is 0
  const size_t valid = valid_utf8_bytes(text.substr(0, end));
  if (valid == end) return;
  const auto line = std::count(text.begin(), text.begin() + static_cast<int64_t>(valid), '\n') + 1;
  throw InputError(fmt::format("{}:{}: is not UTF-8 (byte 0x{:02x}): save the file in UTF-8",
                               file.path.string(), line, static_cast<uint8_t>(text[valid])));
}

void for_each_line(const TextFile& file,
                   const std::function<void(std::string_view, int64_t)>& visit) {
  std::string_view rest = file.text;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    if (end == rest.npos && file.cut) return;
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    visit(line, number);
  }
}

namespace {

// Reads one CSV record after another.
class CsvReader {
 public:
  explicit CsvReader(const TextFile& file) : file_(file), text_(file.text) {}

  // False at the end of the file, or where a cut file breaks off.
  bool next(std::vector<std::string>& fields) {
    if (at_ >= text_.size()) return false;
    fields.clear();
    first_line_ = line_;
    for (;;) {
      std::string field;
      if (at_ < text_.size() && text_[at_] == '"') {
        if (!read_quoted(field)) return false;
      } else {
        const size_t end = std::min(text_.find_first_of(",\n", at_), text_.size());
        field = text_.substr(at_, end - at_);
        at_ = end;
        if (field.ends_with('\r') && (end == text_.size() || text_[end] == '\n')) field.pop_back();
      }
      fields.push_back(std::move(field));
      if (at_ >= text_.size()) return !file_.cut;
      if (text_[at_++] == '\n') {
        ++line_;
        return true;
      }
    }
  }

  int64_t first_line() const { return first_line_; }

 private:
  // From the opening quote to the comma, line end or end of text after the closing one.
  bool read_quoted(std::string& field) {
    const int64_t opened = line_;
    for (++at_;; ++at_) {
      if (at_ >= text_.size()) {
        if (file_.cut) return false;
        throw InputError(
            fmt::format("{}:{}: a quote opens and does not close: write a quote "
                        "inside a quoted field twice",
                        file_.path.string(), opened));
      }
      if (text_[at_] == '"') {
        if (at_ + 1 >= text_.size() || text_[at_ + 1] != '"') break;
        ++at_;
      }
      if (text_[at_] == '\n') ++line_;
      field.push_back(text_[at_]);
    }
    ++at_;
    if (text_.substr(at_).starts_with("\r\n") || text_.substr(at_) == "\r") ++at_;
    if (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n') {
      throw InputError(
          fmt::format("{}:{}: '{}' follows a closing quote: put the whole field in "
                      "quotes and write quotes inside of it twice",
                      file_.path.string(), line_, text_[at_]));
    }
    return true;
  }

  const TextFile& file_;
  std::string_view text_;
  size_t at_ = 0;
  int64_t line_ = 1, first_line_ = 1;
};

}  // namespace

void for_each_csv_record(
    const TextFile& file,
    const std::function<void(const std::vector<std::string>&, int64_t)>& visit) {
  CsvReader reader(file);
  std::vector<std::string> fields;
  while (reader.next(fields)) {
    if (fields.size() > 1 || !fields[0].empty()) visit(fields, reader.first_line());
  }
}

std::vector<std::string> split_tabs(std::string_view line) {
  std::vector<std::string> fields;
  for (;;) {
    const size_t end = line.find('\t');
    fields.emplace_back(line.substr(0, end));
    if (end == line.npos) return fields;
    line.remove_prefix(end + 1);
  }
}

void fail_in_field(const std::filesystem::path& file, int64_t line, std::string_view field,
                   std::string_view problem, std::string_view remedy) {
  throw InputError(
      fmt::format("{}:{}: field '{}': {}: {}", file.string(), line, field, problem, remedy));
}

std::string shown(std::string_view value) {
  constexpr size_t kMost = 40;
  if (value.size() <= kMost) return fmt::format("'{}'", value);
  size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(value[end]) & 0xC0) == 0x80) --end;
  return fmt::format("'{}...'", value.substr(0, end));
}

}  // namespace fedclock::data
