#include "models/data/readers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/data/table_records.h"
#include "models/data/text_file.h"

namespace fedclock::data {

namespace {

using nlohmann::json;

// More than this is a column that is no label.
constexpr int64_t kMostClasses = 10000;

struct RawLabel {
  enum Kind { kInteger, kString, kUntyped } kind = kUntyped;  // TSV and CSV values have no type
  int64_t integer = 0;                                        // of kInteger
  std::string text;
  int64_t line = 0;
};

// A file's rows with their labels as they are written.
struct RawTable {
  std::filesystem::path file;
  std::string label_field;
  std::vector<Row> rows;
  std::vector<RawLabel> labels;  // as many as rows, or none

  [[noreturn]] void fail(const RawLabel& label, std::string_view remedy) const {
    fail_in_field(file, label.line, label_field, "label " + shown(label.text), remedy);
  }
};

std::optional<int64_t> parse_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

RawLabel label_of(const JsonRow& row, const std::string& field, int64_t line) {
  const json& value = row.at(field, "task.files.label_field");
  if (value.is_string()) return {RawLabel::kString, 0, value.get<std::string>(), line};
  if (!value.is_number_integer()) row.fail(field, value, "write an integer from 0 or a string");
  const bool too_large = value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX;
  return {RawLabel::kInteger, too_large ? INT64_MAX : value.get<int64_t>(), value.dump(), line};
}

void add_row(RawTable& table, const TableSpec& spec, Row row, RawLabel label) {
  const InstructionSpec& instruction = spec.instruction;
  if (instruction.open_responses() && row.response.empty()) {
    fail_in_field(table.file, label.line, instruction.response_field, "value ''",
                  "write a response, or leave the row out");
  }
  if (row.text.empty() && instruction.prompt.empty()) {
    fail_in_field(table.file, label.line, spec.text_field, "value ''",
                  "write a text, or leave the row out");
  }
  table.rows.push_back(std::move(row));
  if (!spec.label_field.empty()) table.labels.push_back(std::move(label));
}

constexpr std::string_view kPrompt = "task.files.instruction.prompt",
                           kResponse = "task.files.instruction.response_field";

bool is_wanted(const TableSpec& spec, const std::string& domain) {
  return spec.domains.empty() || spec.domains.contains(domain);
}

void read_json_rows(const TextFile& file, const TableSpec& spec, const Instructions* instructions,
                    RawTable& table) {
  for_each_line(file, [&](std::string_view line, int64_t number) {
    if (line.empty()) return;
    const JsonRow json_row(file.path, line, number);
    Row row;
    if (!spec.domain_field.empty()) {
      row.domain = json_row.name(spec.domain_field, "task.files.domain_field");
    }
    if (!is_wanted(spec, row.domain)) return;
    if (instructions == nullptr) {
      row.text = json_row.text(spec.text_field, "task.files.text_field");
    } else {
      const auto field = [&](const std::string& name) -> std::optional<std::string> {
        if (!json_row.object().contains(name)) return std::nullopt;
        return json_row.name(name, kPrompt);
      };
      row.text = instructions->prompt(field, file.path, number);
    }
    if (spec.instruction.open_responses()) {
      row.response = json_row.text(spec.instruction.response_field, kResponse);
    }
    if (!spec.pair_field.empty()) {
      row.pair = json_row.text(spec.pair_field, "task.files.pair_field");
    }
    RawLabel label;
    if (!spec.label_field.empty()) label = label_of(json_row, spec.label_field, number);
    label.line = number;
    add_row(table, spec, std::move(row), std::move(label));
  });
}

void read_table_rows(const TextFile& file, const TableSpec& spec, const Instructions* instructions,
                     RawTable& table) {
  int text = -1, response = -1, pair = -1, label = -1, domain = -1;
  bool first = true;
  for_each_record(file, [&](const Record& header, const Record& record, int64_t line) {
    if (std::exchange(first, false)) {
      if (instructions == nullptr) {
        text = column_of(file, header, spec.text_field, "task.files.text_field");
      }
      response = column_of(file, header, spec.instruction.response_field, kResponse);
      pair = column_of(file, header, spec.pair_field, "task.files.pair_field");
      label = column_of(file, header, spec.label_field, "task.files.label_field");
      domain = column_of(file, header, spec.domain_field, "task.files.domain_field");
    }
    Row row;
    if (domain >= 0) row.domain = record[domain];
    if (!is_wanted(spec, row.domain)) return;
    if (instructions == nullptr) {
      row.text = record[text];
    } else {
      const auto field = [&](const std::string& name) -> std::optional<std::string> {
        const auto found = std::find(header.begin(), header.end(), name);
        if (found == header.end()) return std::nullopt;
        return record[static_cast<size_t>(found - header.begin())];
      };
      row.text = instructions->prompt(field, file.path, line);
    }
    if (response >= 0) row.response = record[response];
    if (pair >= 0) row.pair = record[pair];
    const std::string label_text = label >= 0 ? record[label] : "";
    if (label >= 0 && label_text.empty()) {
      fail_in_field(file.path, line, spec.label_field, "label ''",
                    "write an integer from 0 or a string");
    }
    add_row(table, spec, std::move(row), {RawLabel::kUntyped, 0, label_text, line});
  });
}

void require_rows_of(const std::set<std::string>& domains, const RawTable& table) {
  std::set<std::string> there;
  for (const Row& row : table.rows) there.insert(row.domain);
  for (const std::string& domain : domains) {
    if (there.contains(domain)) continue;
    throw InputError(fmt::format(
        "{}: task.files.domains: no row is of \"{}\": write it as the file does, or leave it out",
        table.file.string(), domain));
  }
}

RawTable read_raw(const TableSpec& spec, const Instructions* instructions,
                  const std::filesystem::path& path) {
  ensure(instructions != nullptr || !spec.text_field.empty(), "a table needs a text field");
  const std::string kind = path.extension().string();
  if (kind != ".jsonl" && kind != ".tsv" && kind != ".csv") {
    throw InputError(fmt::format("{}: unknown kind of file '{}': give rows as .jsonl, .tsv or .csv",
                                 path.string(), kind));
  }
  const TextFile file = read_text_file(path);
  require_utf8(file);
  RawTable table{path, spec.label_field, {}, {}};
  if (kind == ".jsonl") {
    read_json_rows(file, spec, instructions, table);
  } else {
    read_table_rows(file, spec, instructions, table);
  }
  require_rows_of(spec.domains, table);
  if (table.rows.empty()) {
    throw InputError(path.string() + ": no rows: give a file with at least one row");
  }
  return table;
}

// ---------------------------------------------------------------------------------- the labels

int position_in(const std::vector<std::string>& names, const std::string& name) {
  const auto found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? -1 : static_cast<int>(found - names.begin());
}

// The class of a label where the scenario names the classes.
int named_class(const RawTable& table, const RawLabel& label,
                const std::vector<std::string>& classes) {
  if (label.kind != RawLabel::kInteger) {
    const int position = position_in(classes, label.text);
    if (position >= 0) return position;
  }
  auto integer = parse_integer(label.text);
  if (label.kind == RawLabel::kInteger) integer = label.integer;
  if (integer && label.kind != RawLabel::kString) {
    if (*integer >= 0 && *integer < std::ssize(classes)) return static_cast<int>(*integer);
    table.fail(label, fmt::format("task.files.classes has the labels 0 to {}: correct the label or "
                                  "the list",
                                  classes.size() - 1));
  }
  table.fail(label, fmt::format("task.files.classes has '{}': correct the label or the list",
                                fmt::join(classes, "', '")));
}

// Labels are strings as soon as one is; an integer in a JSON file is then a mistake.
bool are_strings(const std::vector<RawTable*>& tables) {
  const RawLabel* string = nullptr;
  for (const RawTable* table : tables) {
    for (const RawLabel& label : table->labels) {
      const bool untyped = label.kind == RawLabel::kUntyped;
      if (label.kind == RawLabel::kString || (untyped && !parse_integer(label.text))) {
        string = &label;
      }
    }
  }
  if (string == nullptr) return false;
  for (const RawTable* table : tables) {
    for (const RawLabel& label : table->labels) {
      if (label.kind != RawLabel::kInteger) continue;
      table->fail(label, fmt::format("it is an integer, but other labels are strings such as {}: "
                                     "write all in the same way, or name the classes by "
                                     "task.files.classes",
                                     shown(string->text)));
    }
  }
  return true;
}

std::vector<std::string> classes_of_strings(const std::vector<RawTable*>& tables) {
  std::set<std::string> names;
  for (const RawTable* table : tables) {
    for (const RawLabel& label : table->labels) names.insert(label.text);
  }
  return {names.begin(), names.end()};
}

std::vector<std::string> classes_of_integers(const std::vector<RawTable*>& tables) {
  int64_t largest = 0;
  for (const RawTable* table : tables) {
    for (const RawLabel& label : table->labels) {
      const int64_t value =
          label.kind == RawLabel::kInteger ? label.integer : *parse_integer(label.text);
      if (value < 0 || value >= kMostClasses) {
        table->fail(label, fmt::format("write an integer from 0 to {}, or strings, or choose "
                                       "another field by task.files.label_field",
                                       kMostClasses - 1));
      }
      largest = std::max(largest, value);
    }
  }
  std::vector<std::string> names;
  for (int64_t i = 0; i <= largest; ++i) names.push_back(std::to_string(i));
  return names;
}

// Turns labels into positions in one list of classes for all tables, and returns the list.
std::vector<std::string> resolve_labels(const TableSpec& spec,
                                        const std::vector<RawTable*>& tables) {
  for (const std::string& name : spec.classes) {
    if (std::count(spec.classes.begin(), spec.classes.end(), name) == 1) continue;
    throw InputError(fmt::format("task.files.classes: '{}' is there twice: rename one", name));
  }
  if (spec.label_field.empty()) return spec.classes;
  std::vector<std::string> classes = spec.classes;
  const bool strings = spec.classes.empty() && are_strings(tables);
  if (spec.classes.empty()) {
    classes = strings ? classes_of_strings(tables) : classes_of_integers(tables);
  }
  for (RawTable* table : tables) {
    for (size_t i = 0; i < table->rows.size(); ++i) {
      const RawLabel& label = table->labels[i];
      int& position = table->rows[i].label;
      if (!spec.classes.empty()) {
        position = named_class(*table, label, classes);
      } else if (strings) {
        const auto found = std::lower_bound(classes.begin(), classes.end(), label.text);
        position = static_cast<int>(found - classes.begin());
      } else {
        position = static_cast<int>(label.kind == RawLabel::kInteger ? label.integer
                                                                     : *parse_integer(label.text));
      }
    }
  }
  return classes;
}

// Throws InputError where a class has no row in the training file.
void require_training_rows(const RawTable& train, const RawTable& test,
                           const std::vector<std::string>& classes) {
  std::vector<int64_t> rows(classes.size(), 0);
  for (const Row& row : train.rows) {
    if (row.label >= 0) ++rows[static_cast<size_t>(row.label)];
  }
  const auto empty = std::find(rows.begin(), rows.end(), 0) - rows.begin();
  if (empty == std::ssize(rows)) return;
  const std::string& name = classes[static_cast<size_t>(empty)];
  constexpr std::string_view kRemedy = "or name all classes by task.files.classes";
  for (size_t i = 0; i < test.rows.size(); ++i) {
    if (test.rows[i].label != empty) continue;
    throw InputError(fmt::format(
        "{}: field '{}': class \"{}\" has no training row, it occurs only in {}:{}: correct the "
        "label or add training rows, {}",
        train.file.string(), train.label_field, name, test.file.string(), test.labels[i].line,
        kRemedy));
  }
  // Strings come from rows, so that only a hole in the integers is left.
  throw InputError(fmt::format(
      "{}: field '{}': class {} has no training row: labels count from 0: write 0 to n - 1 for n "
      "classes, {}",
      train.file.string(), train.label_field, name, kRemedy));
}

}  // namespace

namespace {

std::optional<Instructions> instructions_of(const TableSpec& spec) {
  if (spec.instruction.prompt.empty()) return std::nullopt;
  return Instructions(spec.instruction);
}

Dataset dataset_of(RawTable table, const std::vector<std::string>& classes,
                   const InstructionSpec& instruction) {
  const bool open = instruction.open_responses();
  for (Row& row : table.rows) {
    if (instruction.prompt.empty() || open) continue;
    ensure(row.label >= 0, "a row without a class, whose name would be its response");
    row.response = classes[static_cast<size_t>(row.label)];
  }
  return {std::move(table.rows), classes, open};
}

}  // namespace

Dataset read_table(const TableSpec& spec) {
  const std::optional<Instructions> instructions = instructions_of(spec);
  RawTable table = read_raw(spec, instructions ? &*instructions : nullptr, spec.file);
  const std::vector<std::string> classes = resolve_labels(spec, {&table});
  return dataset_of(std::move(table), classes, spec.instruction);
}

TrainAndTest read_train_and_test(const TableSpec& spec, const std::filesystem::path& test_file) {
  const std::optional<Instructions> instructions = instructions_of(spec);
  const Instructions* prompts = instructions ? &*instructions : nullptr;
  RawTable train = read_raw(spec, prompts, spec.file);
  RawTable test = read_raw(spec, prompts, test_file);
  const std::vector<std::string> classes = resolve_labels(spec, {&train, &test});
  const bool learnt = !spec.instruction.open_responses();  // classes are
  if (spec.classes.empty() && learnt) require_training_rows(train, test, classes);
  return {dataset_of(std::move(train), classes, spec.instruction),
          dataset_of(std::move(test), classes, spec.instruction)};
}

namespace {

// `count` of the rows, by number, ascending.
std::vector<int64_t> drawn_rows(const Dataset& dataset, int64_t count, uint64_t seed,
                                const char* purpose) {
  std::vector<int64_t> order(dataset.rows.size());
  std::iota(order.begin(), order.end(), 0);
  Random random(seed, purpose);
  random.shuffle(order);
  order.resize(static_cast<size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace

void sample_rows(Dataset& dataset, int64_t count, uint64_t seed) {
  if (count <= 0 || count >= std::ssize(dataset.rows)) return;
  std::vector<Row> kept;
  for (const int64_t i : drawn_rows(dataset, count, seed, "rows")) {
    kept.push_back(std::move(dataset.rows[static_cast<size_t>(i)]));
  }
  dataset.rows = std::move(kept);
}

Dataset hold_out(Dataset& dataset, int64_t count, uint64_t seed) {
  if (count >= std::ssize(dataset.rows)) {
    throw InputError(fmt::format("{} rows are to be held out of {}: leave some to learn from",
                                 count, dataset.rows.size()));
  }
  Dataset held = dataset;
  held.rows.clear();
  std::vector<Row> left;
  const std::vector<int64_t> drawn = drawn_rows(dataset, count, seed, "validation rows");
  auto next = drawn.begin();
  for (int64_t i = 0; i < std::ssize(dataset.rows); ++i) {
    const bool out = next != drawn.end() && *next == i;
    if (out) ++next;
    (out ? held.rows : left).push_back(std::move(dataset.rows[static_cast<size_t>(i)]));
  }
  dataset.rows = std::move(left);
  return held;
}

}  // namespace fedclock::data
