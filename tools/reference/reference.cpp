// Writes the reference of scenarios and suites, in GitHub's Markdown, from their schema's comments:
//   protoc --include_source_info --include_imports --descriptor_set_out=SCHEMA FILE.proto...
//   scenario_reference SCHEMA > sim/scenario/REFERENCE.md
// The first message of each file is what a file of that kind holds.
#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <fstream>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace google::protobuf;

constexpr const char* kIntroduction = R"(# Scenario reference

Every field of a scenario and of a suite; the [README](../../README.md) shows how to use them. Made by
[tools/reference](../../tools/reference/reference.cpp) from the comments of the schema: change those.

Files end in `.textproto` (Protobuf's text format) or in `.json` (its JSON mapping). A message is written
`platform { network_model: TCP }`, a list `targets: [Q, V]` or `devices { ... } devices { ... }`. A file is
merged over those that it `extends`: a value replaces the value there, a message is merged field by field,
another choice of a *one of* replaces the choice, a list the whole list.

A field's path is its message's, which stands above the table, a dot and its name; an item of a list has its
place, from 0. So it is written after `--set` and `--vary` and in a suite's `set`:
`platform.devices[0].network.up_mbit_s=1`. There a value takes the place of what was, a whole message too:
`stop={simulated_s: 100}` is a new `stop`, without the file's `rounds`; `stop.simulated_s=100` is one field more.

*Default* is what holds where a field is not set. Of the indented fields under a *one of* one is set at most.
Fields in one row share what is said.
)";

// A message of the reference: how the first path leads to it, and all paths to it.
struct Section {
  const Descriptor* message;
  const FieldDescriptor* field;  // nullptr: a file holds it
  int depth;
  std::vector<std::string> paths;
};

// Fields that share a comment: one without, after a number or a text, goes on with the one before.
struct Row {
  std::vector<const FieldDescriptor*> fields;
  std::string comment;
};

// A comment, cut in two: what a field says and what holds where it is not set.
struct Said {
  std::string text, otherwise;
};

std::string trimmed(const std::string& text) {
  return std::regex_replace(text, std::regex("^\\s+|\\s+$"), "");
}

// Lines joined; an empty line stays as a break between paragraphs.
std::string joined(const SourceLocation& location) {
  std::string text = trimmed(location.leading_comments + location.trailing_comments);
  text = std::regex_replace(text, std::regex(" *\n *"), "\n");
  return std::regex_replace(text, std::regex("([^\n])\n(?!\n)"), "$1 ");
}

template <typename Thing>
std::string comment_of(const Thing& thing) {
  SourceLocation location;
  return thing.GetSourceLocation(&location) ? joined(location) : "";
}

// A sentence ends where the next does not begin with a small letter: not so "Lai et al., ...".
const std::string kEnd = R"(\.(?=\s[^a-z]|$))";

// "Default: ..." or else a sentence that says "required" is cut out of a comment.
Said split(const std::string& comment) {
  static const std::regex kDefault(R"((?:^|\s)Default: ([^]*?))" + kEnd);
  static const std::regex kRequired(
      R"((?:^|\s)((?:Required|(?:One|Exactly one|At least) [^.]*? required)[^]*?))" + kEnd);
  std::smatch found;
  for (const std::regex* known : {&kDefault, &kRequired}) {
    if (!std::regex_search(comment, found, *known)) continue;
    return {trimmed(found.prefix().str() + found.suffix().str()), found[1]};
  }
  return {comment, ""};
}

std::string first_sentence(const std::string& text) {
  std::smatch found;
  return std::regex_search(text, found, std::regex("^[^]*?" + kEnd)) ? found.str() : text;
}

// The default as a scenario would write it; empty where the schema has none.
std::string literal(const FieldDescriptor& field) {
  if (!field.has_default_value()) return "";
  FieldDescriptorProto proto;
  field.CopyTo(&proto);
  const bool text = field.cpp_type() == FieldDescriptor::CPPTYPE_STRING;
  return text ? '"' + proto.default_value() + '"' : proto.default_value();
}

// Specials outside of code spans are escaped; papers, and files of this project, become links.
std::string markdown(const std::string& text) {
  static const std::regex kSpecial(R"(([\\*\[\]<~$]|\b_|_\b)(?=[^`]*(?:`[^`]*`[^`]*)*$))");
  static const std::regex kPaper(R"(arXiv (\d{4}\.\d{5}))");
  static const std::regex kFile(R"(\b((?:sim|models|tools)/[\w/]+\.(?:h|cpp|proto)))");
  std::string out = std::regex_replace(text, kSpecial, "\\$1");
  out = std::regex_replace(out, kPaper, "[arXiv $1](https://arxiv.org/abs/$1)");
  return std::regex_replace(out, kFile, "[$1](../../$1)");
}

// In a table a line break or a bar would end the cell, in code spans too.
std::string cell(std::string text) {
  text = std::regex_replace(text, std::regex("\\|"), "\\|");
  return std::regex_replace(text, std::regex("\n+"), "<br>");
}

// "Architecture.Kind", under which name it also has its heading.
template <typename Type>
std::string name_of(const Type& type) {
  return type.full_name().substr(type.file()->package().size() + 1);
}

template <typename Type>
std::string link(const Type& type) {
  std::string anchor = name_of(type);
  std::erase(anchor, '.');
  for (char& c : anchor) c = static_cast<char>(std::tolower(c));
  return fmt::format("[{}](#{})", name_of(type), anchor);
}

std::string type_of(const FieldDescriptor& field) {
  const FieldDescriptor::CppType kind = field.cpp_type();
  std::string type = "integer";
  if (field.message_type() != nullptr) type = link(*field.message_type());
  if (field.enum_type() != nullptr) type = link(*field.enum_type());
  if (kind == FieldDescriptor::CPPTYPE_STRING) type = "text";
  if (kind == FieldDescriptor::CPPTYPE_BOOL) type = "true or false";
  if (kind == FieldDescriptor::CPPTYPE_DOUBLE) type = "number";
  return field.is_repeated() ? "list of " + type : type;
}

std::vector<Row> rows_of(const Descriptor& message) {
  std::vector<Row> rows;
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor* field = message.field(i);
    if (field->options().deprecated()) continue;
    const std::string comment = comment_of(*field);
    const bool scalar = field->message_type() == nullptr && field->enum_type() == nullptr;
    if (!comment.empty() || !scalar || rows.empty()) rows.push_back({{}, comment});
    rows.back().fields.push_back(field);
  }
  return rows;
}

// A row's default in its comment's words, values as code. Throws where the schema's is another.
std::string default_of(const Row& row, const std::string& words) {
  std::vector<std::string> values;
  for (const FieldDescriptor* field : row.fields) {
    values.push_back(literal(*field));
    if (words.find(values.back()) != std::string::npos) continue;
    throw std::runtime_error(field->full_name() + ": comment lacks default " + values.back());
  }
  const std::string value = values.front();
  if (value.empty() || !words.starts_with(value)) return markdown(words);
  if (values.size() > 1) return fmt::format("`{}`", fmt::join(values, "`\n`"));
  return fmt::format("`{}`{}", value, markdown(words.substr(value.size())));
}

// What the type says, where a field leaves it at that.
std::string comment_of_type(const FieldDescriptor& field) {
  if (field.message_type() != nullptr) return first_sentence(comment_of(*field.message_type()));
  return field.enum_type() ? first_sentence(comment_of(*field.enum_type())) : "";
}

// What a file says at its top, or else the message, or else the field that leads to it.
std::string comment_of_section(const Section& section) {
  SourceLocation top;  // protoc gives the comment at the top to the line with the syntax
  section.message->file()->GetSourceLocation({FileDescriptorProto::kSyntaxFieldNumber}, &top);
  if (section.field == nullptr) return joined(top);
  const std::string comment = comment_of(*section.message);
  return comment.empty() ? split(comment_of(*section.field)).text : comment;
}

void write_row(const Row& row, std::string& out) {
  const FieldDescriptor& first = *row.fields.front();
  const std::string indent = first.containing_oneof() ? "&emsp;" : "";
  std::vector<std::string> names, types;
  for (const FieldDescriptor* field : row.fields) {
    names.push_back(fmt::format("{}`{}`", indent, field->name()));
    types.push_back(type_of(*field));
  }
  const Said said = split(row.comment);
  const std::string text = said.text.empty() ? comment_of_type(first) : said.text;
  out += fmt::format("| {} | {} | {} | {} |\n", fmt::join(names, "<br>"), fmt::join(types, "<br>"),
                     cell(default_of(row, said.otherwise)), cell(markdown(text)));
}

void write_table(const Descriptor& message, std::string& out) {
  if (message.field_count() == 0) return;
  out += "\n| field | type | default | what it says |\n|---|---|---|---|\n";
  const OneofDescriptor* group = nullptr;
  for (const Row& row : rows_of(message)) {
    const OneofDescriptor* own = row.fields.front()->containing_oneof();
    if (own != nullptr && own != group) {
      const Said said = split(comment_of(*own));
      out += fmt::format("| *one of* |  | {} | {} |\n", cell(markdown(said.otherwise)),
                         cell(markdown(said.text)));
    }
    group = own;
    write_row(row, out);
  }
}

// A table, or a line where the names of the values say it all.
void write_enum(const EnumDescriptor& values, std::string& out) {
  out += fmt::format("\n### {}\n", name_of(values));
  if (!comment_of(values).empty()) out += fmt::format("\n{}\n", markdown(comment_of(values)));
  std::string names, rows;
  bool explained = false;
  for (int i = 0; i < values.value_count(); ++i) {
    const EnumValueDescriptor& value = *values.value(i);
    if (value.number() == 0 || value.options().deprecated()) continue;  // 0 is UNSPECIFIED
    const std::string comment = comment_of(value);
    explained |= !comment.empty();
    names += fmt::format("{}`{}`", names.empty() ? "" : ", ", value.name());
    rows += fmt::format("| `{}` | {} |\n", value.name(), cell(markdown(comment)));
  }
  out += explained ? "\n| value | what it says |\n|---|---|\n" + rows : "\n" + names + "\n";
}

void write_section(const Section& section, std::string& out) {
  out += fmt::format("\n{} {}\n", section.field ? "###" : "##", name_of(*section.message));
  const std::string comment = comment_of_section(section);
  if (!comment.empty()) out += fmt::format("\n{}\n", markdown(comment));
  if (section.field) out += fmt::format("\nPath: `{}`\n", fmt::join(section.paths, "`, `"));
  write_table(*section.message, out);
}

// Depth first, in the order of the fields. Messages of this schema do not hold themselves.
void collect(const Section& at, std::vector<Section>& sections) {
  const auto same = [&](const Section& section) { return section.message == at.message; };
  const auto known = std::find_if(sections.begin(), sections.end(), same);
  if (known != sections.end()) {
    known->paths.push_back(at.paths.front());
  } else {
    sections.push_back(at);
  }
  for (int i = 0; i < at.message->field_count(); ++i) {
    const FieldDescriptor& next = *at.message->field(i);
    if (next.message_type() == nullptr || next.options().deprecated()) continue;
    const std::string path = fmt::format("{}{}{}", at.field ? at.paths.front() + "." : "",
                                         next.name(), next.is_repeated() ? "[0]" : "");
    collect({next.message_type(), &next, at.depth + 1, {path}}, sections);
  }
}

std::string reference(const std::vector<Section>& sections) {
  std::string out = std::string(kIntroduction) + "\n## Contents\n\n";
  for (const Section& section : sections) {
    const std::string label = section.field ? fmt::format("`{}`: ", section.field->name()) : "";
    out += fmt::format("{:{}}- {}{}\n", "", 2 * section.depth, label, link(*section.message));
  }
  std::set<const EnumDescriptor*> written;  // each after the first message that needs it
  for (const Section& section : sections) {
    write_section(section, out);
    for (int i = 0; i < section.message->field_count(); ++i) {
      const EnumDescriptor* values = section.message->field(i)->enum_type();
      if (values != nullptr && written.insert(values).second) write_enum(*values, out);
    }
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) try {
  std::ifstream in(argc == 2 ? argv[1] : "", std::ios::binary);
  FileDescriptorSet schema;
  if (!in || !schema.ParseFromIstream(&in)) {
    throw std::runtime_error("expects one file that protoc --descriptor_set_out has written");
  }
  DescriptorPool pool;
  std::vector<Section> sections;
  for (const FileDescriptorProto& proto : schema.file()) {
    const FileDescriptor* file = pool.BuildFile(proto);
    if (file == nullptr) throw std::runtime_error(proto.name() + ": is no valid schema");
    collect({file->message_type(0), nullptr, 0, {""}}, sections);
  }
  fmt::print("{}", reference(sections));
} catch (const std::exception& error) {
  fmt::print(stderr, "scenario_reference: {}\n", error.what());
  return 2;
}
