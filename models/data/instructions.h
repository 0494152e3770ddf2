// Rows as instructions: a prompt made of a row's fields, to be answered in words.
//
// A prompt is a text in which {field} stands for a field of the row, or else of the row of a joined
// table that has the same key; {{ and }} stand for braces. Rows of which a field of the prompt is
// empty may have a shorter one (Alpaca's two prompts, with and without an input).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fedclock::data {

struct InstructionSpec {
  std::string prompt{};               // empty: rows are classified
  std::string short_prompt{};         // empty: `prompt` for all rows
  std::string response_field{};       // empty: the name of the row's class is its response
  std::filesystem::path join_file{};  // .jsonl, .tsv or .csv; empty: none
  std::string join_field{};           // of both files, with the same value: the key

  bool open_responses() const { return !response_field.empty(); }
};

// What is wrong with a prompt, and how to write it; empty: nothing.
std::string mistake_in_prompt(const std::string& prompt);

class Instructions {
 public:
  // A row's fields as text, by name; nothing where it has none of the name.
  using Fields = std::function<std::optional<std::string>(const std::string&)>;

  // Reads the joined table. Throws InputError for a prompt that cannot be read, and a joined table
  // without its key or with the same key twice.
  explicit Instructions(const InstructionSpec& spec);

  // Throws InputError "file:line: field 'x': ..." for a field that neither the row nor the joined
  // table has, and for a key that the joined table has not.
  std::string prompt(const Fields& fields, const std::filesystem::path& file, int64_t line) const;

 private:
  struct Piece {
    bool is_field = false;
    std::string text;  // or the field's name
  };
  using Pieces = std::vector<Piece>;
  // A row of the joined table.
  struct Joined {
    int64_t line = 0;
    std::map<std::string, std::optional<std::string>> fields{};  // nothing: no text
  };
  friend std::string mistake_in_prompt(const std::string& prompt);
  // The mistake, or empty and the pieces.
  static std::string read(const std::string& prompt, Pieces& pieces);
  static Pieces pieces_of(const std::string& prompt, const char* named);
  void read_joined();
  std::string joined_value(const Joined& joined, const std::string& name) const;

  const InstructionSpec spec_;
  const Pieces prompt_, short_prompt_;
  std::map<std::string, Joined> joined_;  // by key
};

}  // namespace fedclock::data
