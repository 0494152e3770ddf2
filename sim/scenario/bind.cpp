#include "sim/scenario/bind.h"

#include <fmt/format.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>

#include <cctype>
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "sim/scenario/suggest.h"

namespace fedclock::scenario {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Keeps Protobuf from printing its own messages; ours say more.
class Silence : public google::protobuf::io::ErrorCollector {
  void AddError(int, int, const std::string&) override {}
};

// In JSON both the field's name and its camelCase name are right.
const FieldDescriptor* find_field(const Descriptor& message, const std::string& name,
                                  Syntax syntax) {
  const FieldDescriptor* field = message.FindFieldByName(name);
  if (field != nullptr || syntax == Syntax::kText) return field;
  for (int i = 0; i < message.field_count(); ++i) {
    if (message.field(i)->json_name() == name) return message.field(i);
  }
  return nullptr;
}

// What a field takes, for a value that it does not.
std::string expectation(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: return "must be a whole number from -2^31 to 2^31-1";
    case FieldDescriptor::CPPTYPE_INT64: return "must be a whole number";
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64: return "must be a whole number from 0";
    case FieldDescriptor::CPPTYPE_BOOL: return "must be true or false";
    case FieldDescriptor::CPPTYPE_STRING: return "must be text in double quotes";
    case FieldDescriptor::CPPTYPE_ENUM:
      return "must be one of " + list_of(words_of(*field.enum_type()));
    case FieldDescriptor::CPPTYPE_MESSAGE: return "must be a block in braces";
    default: return "must be a number, without its unit: the unit is part of the field's name";
  }
}

// "; without the quotes: 10" where the quotes of a value in text format are all that is wrong;
// "; 10% is written 0.1" for a percentage.
std::string slip_of(const FieldDescriptor& field, const std::string& text, Syntax syntax) {
  const bool quoted = text.size() > 2 && (text[0] == '"' || text[0] == '\'');
  const std::string bare = quoted ? text.substr(1, text.size() - 2) : text;
  if (bare.ends_with('%') && field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
    double percent = 0;
    const auto [end, error] = std::from_chars(bare.data(), bare.data() + bare.size(), percent);
    if (error == std::errc() && end + 1 == bare.data() + bare.size()) {
      return fmt::format("; a share is written without '%': {:.6g}", percent / 100);
    }
  }
  if (!quoted || syntax == Syntax::kJson) return {};
  const auto* type = field.enum_type();
  bool right = type != nullptr && type->FindValueByName(bare) != nullptr;
  right = right || (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL &&
                    (bare == "true" || bare == "false"));
  if (type == nullptr && field.cpp_type() != FieldDescriptor::CPPTYPE_BOOL &&
      field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    double number = 0;
    const auto [end, error] = std::from_chars(bare.data(), bare.data() + bare.size(), number);
    right = error == std::errc() && end == bare.data() + bare.size();
  }
  return right ? fmt::format("; the quotes are wrong, write {}", bare) : "";
}

bool is_null(const Node& node, Syntax syntax) {
  return syntax == Syntax::kJson && node.kind == Node::Kind::kScalar && node.text == "null";
}

// Another member of the field's oneof that this block sets too.
const FieldDescriptor* rival(const FieldDescriptor& field,
                             const std::set<const FieldDescriptor*>& seen) {
  if (field.containing_oneof() == nullptr) return nullptr;
  for (const FieldDescriptor* other : seen) {
    if (other != &field && other->containing_oneof() == field.containing_oneof()) return other;
  }
  return nullptr;
}

}  // namespace

void Binder::merge(const Node& node, const std::string& path, Message& message) {
  std::set<const FieldDescriptor*> seen;
  for (const Node::Field& entry : node.fields) {
    const FieldDescriptor* field = find_field(*message.GetDescriptor(), entry.name, source_.syntax);
    if (field == nullptr) {
      unknown(entry, path, *message.GetDescriptor());
      continue;
    }
    if (is_null(entry.value, source_.syntax)) continue;  // Protobuf's mapping: not set
    const std::string child = join_path(path, field->name());
    const Location where = source_.location(entry.line, entry.column);
    const FieldDescriptor* other = rival(*field, seen);
    const bool again = !seen.insert(field).second;
    if (other != nullptr) {
      problems_.add_at(where, child, entry.value.shown(),
                       fmt::format("only one of `{}` and `{}` can be set; remove one",
                                   other->name(), field->name()));
    } else if (field->is_repeated()) {
      if (!again) {
        message.GetReflection()->ClearField(&message, field);
        locations_.erase_under(child);
        locations_.set(child, where);
      }
      set_list(*field, entry.value, child, where, message);
    } else if (again) {
      problems_.add_at(where, child, entry.value.shown(),
                       "the field is set twice in this block; remove one");
    } else {
      set(*field, entry.value, child, where, message);
    }
  }
}

void Binder::set_list(const FieldDescriptor& field, const Node& node, const std::string& path,
                      const Location& where, Message& message) {
  const auto next = [&] {  // path of the item to add
    return item_path(path, message.GetReflection()->FieldSize(message, &field));
  };
  if (node.kind != Node::Kind::kList) {
    // One text where a list of texts belongs can mean one thing only.
    const bool text = field.cpp_type() == FieldDescriptor::CPPTYPE_STRING &&
                      node.kind == Node::Kind::kScalar && node.text.starts_with('"');
    if (source_.syntax == Syntax::kJson && !text) {
      problems_.add_at(where, path, node.shown(), "must be a list in square brackets");
    } else {
      set(field, node, next(), where, message);
    }
    return;
  }
  for (const Node& item : node.items) {
    set(field, item, next(), source_.location(item.line, item.column), message);
  }
}

void Binder::set(const FieldDescriptor& field, const Node& node, const std::string& path,
                 const Location& where, Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  if (field.containing_oneof() != nullptr) {
    for (int i = 0; i < field.containing_oneof()->field_count(); ++i) {
      const FieldDescriptor& other = *field.containing_oneof()->field(i);
      if (&other == &field) continue;
      const std::size_t parent = path.size() - field.name().size();
      locations_.erase_under(path.substr(0, parent) + other.name());
    }
  }
  locations_.set(path, where);
  const bool message_type = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  if (message_type && node.kind == Node::Kind::kMessage) {
    merge(node, path,
          *(field.is_repeated() ? reflection.AddMessage(&message, &field)
                                : reflection.MutableMessage(&message, &field)));
    return;
  }
  if (node.kind == Node::Kind::kList) {
    problems_.add_at(where, path, node.shown(), "takes one value, not a list");
  } else if (message_type || node.kind == Node::Kind::kMessage) {
    problems_.add_at(where, path, node.shown(), remedy(field, node));
  } else if (known_word(field, node, path, where) && !convert(field, node, message)) {
    problems_.add_at(where, path, node.shown(), remedy(field, node));
  }
}

std::string Binder::remedy(const FieldDescriptor& field, const Node& node) const {
  return expectation(field) + slip_of(field, node.text, source_.syntax);
}

void Binder::unknown(const Node::Field& field, const std::string& parent,
                     const Descriptor& message) {
  const FieldSuggestion suggestion = suggest_field(field.name, field.value.shown(), message);
  problems_.add_at(source_.location(field.line, field.column), join_path(parent, field.name),
                   field.value.shown(), suggestion.message);
  if (!suggestion.field.empty()) problems_.excuse(join_path(parent, suggestion.field));
}

bool Binder::known_word(const FieldDescriptor& field, const Node& node, const std::string& path,
                        const Location& where) {
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM) return true;
  std::string word = node.text;
  if (source_.syntax == Syntax::kJson && word.starts_with('"')) {
    word = nlohmann::json::parse(word).get<std::string>();
  }
  // A number would get lost without a word where no value has it.
  const bool letter = !word.empty() && std::isalpha(static_cast<unsigned char>(word[0])) != 0;
  const bool digit = !word.empty() && std::isdigit(static_cast<unsigned char>(word.back())) != 0;
  if (!letter && !digit) return true;
  if (letter && field.enum_type()->FindValueByName(word) != nullptr) return true;
  const std::vector<std::string> words = words_of(*field.enum_type());
  problems_.add_at(where, path, word, "is not one of the choices; " + suggest_name(word, words));
  return false;
}

// Sets or adds the value of a scalar field.
bool Binder::convert(const FieldDescriptor& field, const Node& node, Message& message) const {
  if (source_.syntax == Syntax::kText) {
    Silence silence;
    google::protobuf::TextFormat::Parser parser;
    parser.RecordErrorsTo(&silence);
    return parser.ParseFieldValueFromString(node.text, &field, &message);
  }
  const std::unique_ptr<Message> alone(message.New());
  const std::string value = field.is_repeated() ? "[" + node.text + "]" : node.text;
  const std::string json = fmt::format("{{\"{}\": {}}}", field.name(), value);
  if (!google::protobuf::util::JsonStringToMessage(json, alone.get()).ok()) return false;
  message.MergeFrom(*alone);
  return true;
}

std::vector<std::string> words_of(const EnumDescriptor& type) {
  std::vector<std::string> words;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0) words.push_back(type.value(i)->name());
  }
  return words;
}

void merge_over(const Message& over, Message& base) {
  const google::protobuf::Reflection& reflection = *over.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(over, &fields);
  const std::unique_ptr<Message> plain(over.New());  // what MergeFrom does right
  plain->CopyFrom(over);
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) {
      reflection.ClearField(&base, field);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      merge_over(reflection.GetMessage(over, field), *reflection.MutableMessage(&base, field));
      reflection.ClearField(plain.get(), field);
    }
  }
  base.MergeFrom(*plain);
}

}  // namespace fedclock::scenario
