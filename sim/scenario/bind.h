// Sets the fields of a message from a tree of text, by Protobuf's own conversions, and tells every
// unknown field, every word that is no value of its enum and every value of a wrong type.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>
#include <vector>

#include "sim/scenario/location.h"
#include "sim/scenario/syntax.h"

namespace fedclock::scenario {

class Binder {
 public:
  Binder(Source source, Locations& locations, Problems& problems)
      : source_(std::move(source)), locations_(locations), problems_(problems) {}

  // Merges the fields of `node`, a message, into `message`, which stands at `path`: values
  // override, messages merge, lists replace, another choice of a oneof replaces.
  void merge(const Node& node, const std::string& path, google::protobuf::Message& message);

  // Sets one field of `message` from a value: adds an item where the field is a list, merges where
  // it is a message. `path` is that of the value ("a.b", or "a.b[2]" of an item), `where` the place
  // of the field's name.
  void set(const google::protobuf::FieldDescriptor& field, const Node& node,
           const std::string& path, const Location& where, google::protobuf::Message& message);

  // What to write in place of a value that the field does not take.
  std::string remedy(const google::protobuf::FieldDescriptor& field, const Node& node) const;

 private:
  void set_list(const google::protobuf::FieldDescriptor& field, const Node& node,
                const std::string& path, const Location& where, google::protobuf::Message& message);
  void unknown(const Node::Field& field, const std::string& parent,
               const google::protobuf::Descriptor& message);
  bool known_word(const google::protobuf::FieldDescriptor& field, const Node& node,
                  const std::string& path, const Location& where);
  bool convert(const google::protobuf::FieldDescriptor& field, const Node& node,
               google::protobuf::Message& message) const;

  Source source_;
  Locations& locations_;
  Problems& problems_;
};

// Names of an enum's values, without the unspecified one.
std::vector<std::string> words_of(const google::protobuf::EnumDescriptor& type);

// `over` merged over `base`, in the same way.
void merge_over(const google::protobuf::Message& over, google::protobuf::Message& base);

}  // namespace fedclock::scenario
