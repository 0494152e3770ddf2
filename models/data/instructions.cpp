#include "models/data/instructions.h"

#include <fmt/format.h>

#include "models/common/error.h"
#include "models/data/table_records.h"
#include "models/data/text_file.h"

namespace fedclock::data {

Instructions::Instructions(const InstructionSpec& spec)
    : spec_(spec),
      prompt_(pieces_of(spec.prompt, "task.files.instruction.prompt")),
      short_prompt_(pieces_of(spec.short_prompt, "task.files.instruction.short_prompt")) {
  if (!spec_.join_file.empty()) read_joined();
}

std::string Instructions::read(const std::string& prompt, Pieces& pieces) {
  const auto mistake = [](const char* what) {
    return fmt::format("{}: write {{field}} for a field of the rows, and {{{{ or }}}} for a brace",
                       what);
  };
  pieces = {{false, ""}};
  for (size_t i = 0; i < prompt.size(); ++i) {
    const char c = prompt[i];
    if (c != '{' && c != '}') {
      pieces.back().text += c;
    } else if (i + 1 < prompt.size() && prompt[i + 1] == c) {
      pieces.back().text += c;
      ++i;
    } else if (c == '}') {
      return mistake("a brace closes that was not opened");
    } else {
      const size_t end = prompt.find('}', i);
      if (end == std::string::npos) return mistake("a brace is not closed");
      if (end == i + 1) return mistake("braces hold no name");
      pieces.push_back({true, prompt.substr(i + 1, end - i - 1)});
      pieces.push_back({false, ""});
      i = end;
    }
  }
  return {};
}

std::string mistake_in_prompt(const std::string& prompt) {
  Instructions::Pieces pieces;
  return Instructions::read(prompt, pieces);
}

Instructions::Pieces Instructions::pieces_of(const std::string& prompt, const char* named) {
  Pieces pieces;
  const std::string mistake = read(prompt, pieces);
  if (mistake.empty()) return pieces;
  throw InputError(fmt::format("{}: {}: {}", named, shown(prompt), mistake));
}

void Instructions::read_joined() {
  const TextFile file = read_text_file(spec_.join_file);
  require_utf8(file);
  const auto add = [&](const std::string& key, Joined joined) {
    const int64_t line = joined.line;
    if (joined_.emplace(key, std::move(joined)).second) return;
    fail_in_field(file.path, line, spec_.join_field, "value " + shown(key) + " stands there twice",
                  "leave one row of each");
  };
  constexpr std::string_view kChosenBy = "task.files.instruction.join.field";
  if (file.path.extension() == ".jsonl") {
    for_each_line(file, [&](std::string_view line, int64_t number) {
      if (line.empty()) return;
      const JsonRow row(file.path, line, number);
      Joined joined{number};
      for (const auto& [name, value] : row.object().items()) {
        const bool text = value.is_string() || value.is_number_integer();
        joined.fields[name] = text ? std::optional(row.name(name, kChosenBy)) : std::nullopt;
      }
      add(row.name(spec_.join_field, kChosenBy), std::move(joined));
    });
    return;
  }
  for_each_record(file, [&](const Record& header, const Record& record, int64_t line) {
    const int key = column_of(file, header, spec_.join_field, kChosenBy);
    Joined joined{line};
    for (size_t i = 0; i < header.size(); ++i) joined.fields[header[i]] = record[i];
    add(record[static_cast<size_t>(key)], std::move(joined));
  });
}

std::string Instructions::joined_value(const Joined& joined, const std::string& name) const {
  const auto& value = joined.fields.at(name);
  if (value) return *value;
  fail_in_field(spec_.join_file, joined.line, name, "is no text", "write a string or an integer");
}

std::string Instructions::prompt(const Fields& fields, const std::filesystem::path& file,
                                 int64_t line) const {
  const Joined* joined = nullptr;
  if (!spec_.join_file.empty()) {
    const auto key = fields(spec_.join_field);
    if (!key) {
      fail_in_field(
          file, line, spec_.join_field, "missing",
          "task.files.instruction.join joins rows by it: add it, or choose another field");
    }
    const auto found = joined_.find(*key);
    if (found == joined_.end()) {
      fail_in_field(file, line, spec_.join_field, "value " + shown(*key),
                    "no row of " + spec_.join_file.string() + " has it: add one");
    }
    joined = &found->second;
  }
  const auto value = [&](const std::string& name) -> std::string {
    if (auto own = fields(name)) return *own;
    if (joined != nullptr && joined->fields.contains(name)) return joined_value(*joined, name);
    fail_in_field(file, line, name, "missing",
                  "task.files.instruction.prompt asks for it: add it, or change the prompt");
  };
  bool complete = true;
  const auto filled = [&](const Pieces& pieces) {
    std::string text;
    for (const Piece& piece : pieces) {
      const std::string part = piece.is_field ? value(piece.text) : piece.text;
      complete = complete && !(piece.is_field && part.empty());
      text += part;
    }
    return text;
  };
  std::string text = filled(prompt_);
  return complete || spec_.short_prompt.empty() ? text : filled(short_prompt_);
}

}  // namespace fedclock::data
