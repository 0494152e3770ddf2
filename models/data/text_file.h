// Text files as lines, tab-separated fields and CSV records (RFC 4180), with the line numbers that
// error messages need. A UTF-8 byte-order mark and \r\n line ends are tolerated everywhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fedclock::data {

struct TextFile {
  std::filesystem::path path;
  std::string text;  // without byte-order mark
  bool cut = false;  // the file goes on after `text`
};

// Reads at most `max_bytes` bytes; 0 means all. Throws InputError when there is no such file: the
// message names the file, the folder and the ways to choose another folder.
TextFile read_text_file(const std::filesystem::path& path, int64_t max_bytes = 0);

// Throws InputError "file:line: is not UTF-8: remedy" at the first line that is not. The last line
// of a cut file does not count.
void require_utf8(const TextFile& file);

// Calls visit(line, number) for every line, numbered from 1, without its line end. The last line
// of a cut file is left out, because its rest is missing.
void for_each_line(const TextFile& file,
                   const std::function<void(std::string_view, int64_t)>& visit);

// Calls visit(fields, number) for every record of a CSV file (RFC 4180: comma, fields in double
// quotes may hold commas, line ends and doubled quotes); `number` is the line on which the record
// starts. Empty lines are skipped, as is the last record of a cut file. Throws InputError for a
// quote that is not closed and for text after a closing quote.
void for_each_csv_record(
    const TextFile& file,
    const std::function<void(const std::vector<std::string>&, int64_t)>& visit);

// The fields of a line of a TSV file; there is no quoting.
std::vector<std::string> split_tabs(std::string_view line);

// Throws InputError "file:line: field 'x': problem: remedy".
[[noreturn]] void fail_in_field(const std::filesystem::path& file, int64_t line,
                                std::string_view field, std::string_view problem,
                                std::string_view remedy);

// A value as error messages show it: in quotes, cut to 40 bytes.
std::string shown(std::string_view value);

}  // namespace fedclock::data
