#include "sim/scenario/overrides.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <vector>

#include "sim/scenario/bind.h"
#include "sim/scenario/suggest.h"
#include "sim/scenario/syntax.h"

namespace fedclock::scenario {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

struct Component {
  std::string name;
  std::optional<int> index;
};

// "devices[0]"; nothing where it is malformed.
std::optional<Component> read_component(std::string_view text) {
  Component component;
  const std::size_t bracket = text.find('[');
  component.name = text.substr(0, bracket);
  if (component.name.empty()) return std::nullopt;
  if (bracket == std::string_view::npos) return component;
  const std::string_view inside = text.substr(bracket + 1);
  int index = 0;
  const auto [end, error] = std::from_chars(inside.data(), inside.data() + inside.size(), index);
  if (error != std::errc() || end + 1 != inside.data() + inside.size() || *end != ']') {
    return std::nullopt;
  }
  component.index = index;
  return component;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts{""};
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// Follows an override's path and sets what it leads to.
class Override {
 public:
  Override(const std::string& text, const std::string& place, Locations& locations,
           Problems& problems)
      : source_{Syntax::kText, place.empty() ? "--set " + text : place, false},
        locations_(locations),
        problems_(problems),
        binder_(source_, locations, problems) {
    const std::size_t equals = text.find('=');
    path_ = text.substr(0, equals);
    has_value_ = equals != std::string::npos;
    if (has_value_) value_ = text.substr(equals + 1);
  }

  void apply(v1::Scenario& scenario) {
    if (!has_value_ || path_.empty()) {
      return fail(path_, "", "an override is PATH=VALUE, such as platform.devices[0].count=40");
    }
    if (path_.starts_with("extends")) {
      return fail(path_, value_, "files are merged before overrides; write `extends` in a file");
    }
    Message* message = &scenario;
    std::string path;
    const std::vector<std::string> parts = split(path_, '.');
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const std::optional<Component> component = read_component(parts[i]);
      if (!component) return fail(join_path(path, parts[i]), value_, "is no field or item[index]");
      const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(component->name);
      if (field == nullptr) {
        return fail(join_path(path, component->name), value_,
                    suggest_field(component->name, value_, *message->GetDescriptor()).message);
      }
      const std::string here = join_path(path, component->name);
      if (!check_index(*field, *component, *message, here)) return;
      if (i + 1 == parts.size()) return set(*field, *component, *message, here);
      message = step_into(*field, *component, *message, here);
      if (message == nullptr) return;
      path = component->index ? item_path(here, *component->index) : here;
    }
  }

 private:
  void fail(const std::string& path, const std::string& value, const std::string& message) {
    problems_.add_at(source_.location(0, 0), path, value, message);
  }

  bool check_index(const FieldDescriptor& field, const Component& component, const Message& message,
                   const std::string& here) {
    if (!component.index) return true;
    if (!field.is_repeated()) {
      fail(item_path(here, *component.index), value_, "is not a list; leave out the index");
      return false;
    }
    const int size = message.GetReflection()->FieldSize(message, &field);
    if (*component.index >= 0 && *component.index < size) return true;
    fail(item_path(here, *component.index), value_,
         size == 0 ? "the list is empty; there is no such item"
                   : fmt::format("there is no such item; the list has {}, from [0] to [{}]", size,
                                 size - 1));
    return false;
  }

  Message* step_into(const FieldDescriptor& field, const Component& component, Message& message,
                     const std::string& here) {
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      fail(here, value_, "has no fields of its own; end the path here");
      return nullptr;
    }
    if (field.is_repeated() && !component.index) {
      fail(here, value_, fmt::format("is a list; say which item, such as {}[0]", field.name()));
      return nullptr;
    }
    const google::protobuf::Reflection& reflection = *message.GetReflection();
    return component.index ? reflection.MutableRepeatedMessage(&message, &field, *component.index)
                           : reflection.MutableMessage(&message, &field);
  }

  // The value as a node of text format.
  std::optional<Node> value(const FieldDescriptor& field) {
    std::string text = value_;
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_STRING &&
        text.find_first_not_of(" \t\r\n") == std::string::npos) {
      fail(path_, "nothing", "has no value behind '='; " + binder_.remedy(field, {}));
      return std::nullopt;
    }
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING && !text.starts_with('"') &&
        !text.starts_with('\'') && !text.starts_with('[')) {
      text = in_quotes(text);
    }
    Problems broken;
    std::optional<Node> root = read_syntax("value: " + text, source_, broken);
    for (const Problem& problem : broken.list()) {
      fail(path_, problem.value.empty() ? value_ : problem.value, problem.message);
    }
    if (!root) return std::nullopt;
    if (root->fields.size() != 1) {
      fail(path_, value_, "is more than one value; put lists in [ ] and messages in { }");
      return std::nullopt;
    }
    return root->fields[0].value;
  }

  void set(const FieldDescriptor& field, const Component& component, Message& message,
           const std::string& here) {
    const google::protobuf::Reflection& reflection = *message.GetReflection();
    std::optional<Node> node = value(field);
    if (!node) return;
    const Location where = source_.location(0, 0);
    if (!component.index) {
      reflection.ClearField(&message, &field);
      locations_.erase_under(here);
      Node whole{Node::Kind::kMessage, 0, 0, "", {}, {}};
      whole.fields.push_back({field.name(), 0, 0, std::move(*node)});
      return binder_.merge(
          whole,
          here.substr(
              0, here.size() == field.name().size() ? 0 : here.size() - field.name().size() - 1),
          message);
    }
    const std::string item = item_path(here, *component.index);
    locations_.erase_under(item);
    locations_.set(item, where);
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
        node->kind == Node::Kind::kMessage) {
      Message& old = *reflection.MutableRepeatedMessage(&message, &field, *component.index);
      old.Clear();
      return binder_.merge(*node, item, old);
    }
    // A scalar: add it behind the list, then swap it in.
    const int size = reflection.FieldSize(message, &field);
    binder_.set(field, *node, item, where, message);
    if (reflection.FieldSize(message, &field) == size) return;
    reflection.SwapElements(&message, &field, *component.index, size);
    reflection.RemoveLast(&message, &field);
  }

  Source source_;
  std::string path_, value_;
  bool has_value_ = false;
  Locations& locations_;
  Problems& problems_;
  Binder binder_;
};

}  // namespace

void apply_override(const std::string& text, v1::Scenario& scenario, Locations& locations,
                    Problems& problems, const std::string& place) {
  Override(text, place, locations, problems).apply(scenario);
}

bool reaches_into_device(const std::string& text) {
  const std::string path = text.substr(0, text.find('='));
  return path.starts_with("platform.") && path.find(".device.") != std::string::npos;
}

}  // namespace fedclock::scenario
