#include "sim/scenario/check.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/text_format.h>

#include <cmath>

#include "models/common/error.h"

namespace fedclock::scenario {
namespace {

using google::protobuf::FieldDescriptor;

const FieldDescriptor& field_of(const google::protobuf::Message& message, std::string_view name) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(std::string(name));
  ensure(field != nullptr, "a check names a field that the schema does not have");
  return *field;
}

std::string with_hint(std::string message, std::string_view hint) {
  if (!hint.empty()) message += fmt::format("{}{}", hint.starts_with(';') ? "" : "; ", hint);
  return message;
}

}  // namespace

Fields Fields::child(std::string_view name) const {
  const FieldDescriptor& field = field_of(message_, name);
  return {message_.GetReflection()->GetMessage(message_, &field), path(name), problems_};
}

Fields Fields::item(std::string_view name, int index) const {
  const FieldDescriptor& field = field_of(message_, name);
  return {message_.GetReflection()->GetRepeatedMessage(message_, &field, index),
          item_path(path(name), index), problems_};
}

bool Fields::has(std::string_view name) const {
  const FieldDescriptor& field = field_of(message_, name);
  const google::protobuf::Reflection& reflection = *message_.GetReflection();
  return field.is_repeated() ? reflection.FieldSize(message_, &field) > 0
                             : reflection.HasField(message_, &field);
}

double Fields::number(std::string_view name) const {
  const FieldDescriptor& field = field_of(message_, name);
  const google::protobuf::Reflection& reflection = *message_.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: return reflection.GetInt32(message_, &field);
    case FieldDescriptor::CPPTYPE_INT64:
      return static_cast<double>(reflection.GetInt64(message_, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE: return reflection.GetDouble(message_, &field);
    default: ensure(false, "a range check of a field that is no number");
  }
  return 0;
}

std::string Fields::shown(std::string_view name) const {
  const FieldDescriptor& field = field_of(message_, name);
  if (!has(name)) return "not set";
  if (field.is_repeated()) return "[...]";
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) return "{...}";
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
    return fmt::format("{}", number(name));
  }
  std::string text;
  google::protobuf::TextFormat::PrintFieldValueToString(message_, &field, -1, &text);
  return text;
}

void Fields::problem(std::string_view name, const std::string& message) const {
  if (!problems_.covers(path(name))) problems_.add(path(name), shown(name), message);
}

bool Fields::require(std::string_view name, std::string_view what) const {
  if (has(name)) return true;
  if (!problems_.covers(path(name))) {
    problems_.add(path(name), "not set", fmt::format("is required; {}", what));
  }
  return false;
}

bool Fields::unchecked(std::string_view name) const {
  return !has(name) || !std::isfinite(number(name)) || problems_.covers(path(name));
}

bool Fields::within(std::string_view name, double low, double high, std::string_view hint) const {
  if (unchecked(name) || (number(name) >= low && number(name) <= high)) return true;
  problem(name, with_hint(fmt::format("must be from {} to {}", low, high), hint));
  return false;
}

bool Fields::at_least(std::string_view name, double low, std::string_view hint) const {
  if (unchecked(name) || number(name) >= low) return true;
  problem(name, with_hint(fmt::format("must be at least {}", low), hint));
  return false;
}

bool Fields::above(std::string_view name, double low, double high, std::string_view hint) const {
  if (unchecked(name) || (number(name) > low && number(name) <= high)) return true;
  const std::string range = std::isinf(high) ? fmt::format("must be above {}", low)
                                             : fmt::format("must be above {}, up to {}", low, high);
  problem(name, with_hint(range, hint));
  return false;
}

std::string unit_hint(double value, double factor, double low, double high, std::string_view wrong,
                      std::string_view right) {
  const double converted = value / factor;
  if (!(value > high) || converted < low || converted > high) return {};
  return fmt::format("; did you mean {} {}? then write {:.6g} ({})", value, wrong, converted,
                     right);
}

std::string slip_hint(double value, double low, double high, const std::vector<Slip>& slips,
                      std::string_view right) {
  for (const Slip& slip : slips) {
    std::string hint = unit_hint(value, slip.factor, low, high, slip.unit, right);
    if (!hint.empty()) return hint;
  }
  return {};
}

void check_rate(const Fields& fields, std::string_view name, std::string_view why) {
  const double value = fields.number(name);
  std::string hint = slip_hint(value, kSlowest_mbit_s, kFastest_mbit_s,
                               {{1e6, "bit/s"}, {1e3, "kbit/s"}}, "Mbit/s");
  if (value <= 0) hint = fmt::format("; {}", why);
  fields.within(name, kSlowest_mbit_s, kFastest_mbit_s, hint);
}

void check_file_name(const Fields& fields, std::string_view name, const std::string& value,
                     const std::vector<std::string>& endings) {
  const std::string all =
      fmt::format("{} or {}", fmt::join(endings.begin(), endings.end() - 1, ", "), endings.back());
  if (!fields.require(name, fmt::format("name a {} file of the data folder", all))) return;
  for (const std::string& ending : endings) {
    if (value.ends_with(ending)) return;
  }
  fields.problem(name, fmt::format("must name a file that ends in {}", all));
}

int64_t client_count(const v1::Scenario& scenario) {
  int64_t clients = 0;
  for (const v1::DeviceGroup& group : scenario.platform().devices()) {
    if (group.count() > 0) clients += group.count();
  }
  return clients;
}

int64_t prompt_tokens(const v1::Scenario& scenario) {
  const v1::Assignment& answer = scenario.federation().assignment();
  return answer.has_prompt() ? answer.prompt().tokens() : 0;
}

bool has_responses(const v1::Task& task) {
  return task.synthetic().form() == v1::SyntheticTask::INSTRUCTION ||
         task.files().has_instruction();
}

std::optional<int64_t> learning_layers(const v1::Scenario& scenario) {
  const v1::Architecture& architecture = scenario.model().pretrain().architecture();
  if (!architecture.has_layers() || architecture.layers() < 1) return std::nullopt;
  return architecture.layers();
}

void check_rank(const v1::Scenario& scenario, const Fields& holder) {
  const int width = scenario.model().pretrain().architecture().width();
  if (!holder.at_least("rank", 1) || width < 1 || holder.number("rank") <= width) return;
  holder.problem("rank", fmt::format("must be at most the model's width, {}: an adapter of full "
                                     "rank saves nothing",
                                     width));
}

}  // namespace fedclock::scenario
