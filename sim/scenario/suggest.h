// Remedies: what a misspelt name, or a name with another unit, was probably meant to be.
#pragma once

#include <google/protobuf/descriptor.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fedclock::scenario {

// Letters to insert, remove, replace or swap with their neighbour to turn one word into the other
// (optimal string alignment distance). Case, '_' and '-' do not count.
int edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `word`, where one is near enough to be a slip: at most 2 edits, or a
// third of a long word.
std::optional<std::string> closest(std::string_view word,
                                   const std::vector<std::string>& candidates);

// "did you mean `x`? known: a, b, x", or only the latter.
std::string suggest_name(std::string_view word, const std::vector<std::string>& candidates);

// The text in double quotes, as messages show text.
std::string in_quotes(std::string_view text);

// "a, b, c".
std::string list_of(const std::vector<std::string>& words);

// What to write in place of the unknown field `name`, which was given `value`, in `message`.
struct FieldSuggestion {
  std::string field;    // the field that was meant; empty where there is no telling
  std::string message;  // "there is no such field; did you mean ...?"
};
FieldSuggestion suggest_field(std::string_view name, std::string_view value,
                              const google::protobuf::Descriptor& message);

}  // namespace fedclock::scenario
