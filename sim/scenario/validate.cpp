#include "sim/scenario/validate.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <cmath>
#include <vector>

#include "sim/scenario/bind.h"
#include "sim/scenario/check.h"
#include "sim/scenario/suggest.h"

namespace fedclock::scenario {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

void check_double(double value, const std::string& path, Problems& problems) {
  if (std::isfinite(value) || problems.covers(path)) return;
  problems.add(path, fmt::format("{}", value), "must be a finite number");
}

void check_word(const google::protobuf::EnumValueDescriptor& value, const std::string& path,
                Problems& problems) {
  if (value.number() != 0 || problems.covers(path)) return;
  problems.add(path, value.name(),
               "is no choice; write one of " + list_of(words_of(*value.type())));
}

// No field anywhere is infinite, not a number or an enum's unspecified value.
void check_values(const Message& message, const std::string& path, Problems& problems) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string name = join_path(path, field->name());
    const bool list = field->is_repeated();
    const int size = list ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < size; ++i) {
      const std::string place = list ? item_path(name, i) : name;
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        check_values(list ? reflection.GetRepeatedMessage(message, field, i)
                          : reflection.GetMessage(message, field),
                     place, problems);
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
        check_double(list ? reflection.GetRepeatedDouble(message, field, i)
                          : reflection.GetDouble(message, field),
                     place, problems);
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
        check_word(*(list ? reflection.GetRepeatedEnum(message, field, i)
                          : reflection.GetEnum(message, field)),
                   place, problems);
      }
    }
  }
}

}  // namespace

// The name becomes the folder of the results, and a cell of their tables.
void check_name(const v1::Scenario& scenario, Problems& problems) {
  const std::string& name = scenario.name();
  const bool plain = name.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_. ") ==
                     std::string::npos;
  if ((plain && !name.empty() && name[0] != '.') || problems.covers("name")) return;
  problems.add("name", in_quotes(name),
               "names the folder of the results; write `name` with letters (a to z), digits, '-', "
               "'_', '.' and ' ' only, not '.' first");
}

// Of the learning; the devices' is timing.precision.
void check_learning_precision(const v1::Scenario& scenario, Problems& problems) {
  if (problems.covers("precision")) return;
  if (scenario.precision() == v1::FP16) {
    problems.add("precision", "FP16",
                 "the learning knows FP32 and BF16; for the devices' precision write "
                 "timing { precision: FP16 }");
  }
  if (scenario.precision() == v1::BF16 && scenario.numerics() != v1::NATIVE) {
    problems.add("precision", "BF16",
                 "gives other bits on other processors: write numerics: NATIVE beside it, or "
                 "precision: FP32");
  }
  if (scenario.precision() == v1::BF16 && scenario.model().adapter().dropout() > 0) {
    problems.add("model.adapter.dropout", fmt::format("{}", scenario.model().adapter().dropout()),
                 "is trained in FP32 alone: write 0, or precision: FP32");
  }
}

void validate(const Loaded& loaded, Problems& problems) {
  const v1::Scenario& scenario = loaded.scenario;
  problems.use(loaded.locations);
  check_values(scenario, "", problems);
  check_name(scenario, problems);
  check_learning_precision(scenario, problems);
  check_task(scenario, problems);
  check_model(scenario, problems);
  check_federation(scenario, problems);
  check_platform(scenario, problems);
  check_combination(scenario, problems);
  check_timing(scenario, problems);
  check_ends(scenario, problems);
}

}  // namespace fedclock::scenario
