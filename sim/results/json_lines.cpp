#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "models/common/error.h"
#include "sim/results/exports.h"
#include "sim/results/json_text.h"

namespace fedclock::results {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Json = nlohmann::ordered_json;

void add_fields(const Message& from, std::initializer_list<std::string_view> without, Json& to);

Json object(const Message& from) {
  Json to;
  add_fields(from, {}, to);
  return to;
}

Json value(const Message& from, const FieldDescriptor* field) {
  const Reflection& of = *from.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: return of.GetInt32(from, field);
    case FieldDescriptor::CPPTYPE_INT64: return of.GetInt64(from, field);
    case FieldDescriptor::CPPTYPE_DOUBLE: return of.GetDouble(from, field);
    case FieldDescriptor::CPPTYPE_BOOL: return of.GetBool(from, field);
    case FieldDescriptor::CPPTYPE_STRING: return of.GetString(from, field);
    case FieldDescriptor::CPPTYPE_MESSAGE: return object(of.GetMessage(from, field));
    default: throw ProgrammerError("a type without JSON: " + field->full_name());
  }
}

Json values(const Message& from, const FieldDescriptor* field) {
  const Reflection& of = *from.GetReflection();
  Json list = Json::array();
  for (int i = 0; i < of.FieldSize(from, field); ++i) {
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        list.push_back(of.GetRepeatedInt32(from, field, i));
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        list.push_back(of.GetRepeatedString(from, field, i));
        break;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        list.push_back(object(of.GetRepeatedMessage(from, field, i)));
        break;
      default: throw ProgrammerError("a repeated type without JSON: " + field->full_name());
    }
  }
  return list;
}

// What is set, in the order of field numbers: a field that result.proto gains is here by itself.
void add_fields(const Message& from, std::initializer_list<std::string_view> without, Json& to) {
  std::vector<const FieldDescriptor*> fields;
  from.GetReflection()->ListFields(from, &fields);
  for (const FieldDescriptor* field : fields) {
    if (std::find(without.begin(), without.end(), field->name()) != without.end()) continue;
    to[field->name()] = field->is_repeated() ? values(from, field) : value(from, field);
  }
}

std::string line(const Json& object) { return json_text(object) + "\n"; }

struct Dated {
  double date_s = 0;
  std::string line;
};

void add_phases(const v1::Events& events, std::vector<Dated>& to) {
  for (int i = 0; i < events.client_size(); ++i) {
    to.push_back({events.end_s(i), line({{"type", "phase"},
                                         {"round", events.round(i)},
                                         {"client", events.client(i)},
                                         {"phase", phase_name(events.phase(i))},
                                         {"start_s", events.start_s(i)},
                                         {"end_s", events.end_s(i)},
                                         {"bytes", events.bytes(i)},
                                         {"end", end_name(events.end(i))}})});
  }
}

void add_parts(const v1::Round& round, std::vector<Dated>& to) {
  for (const v1::ClientRound& client : round.clients()) {
    Json part = {{"type", "part"}, {"round", round.round()}};
    add_fields(client, {}, part);
    to.push_back({client.has_end_s() ? client.end_s() : round.end_s(), line(part)});
  }
}

std::string lower(std::string name) {
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

}  // namespace

std::string phase_name(v1::Event::Phase phase) { return lower(v1::Event::Phase_Name(phase)); }

std::string end_name(v1::Event::End end) { return lower(v1::Event::End_Name(end)); }

std::string owner_name(int32_t owner, size_t lane) {
  std::string name = owner >= 0    ? fmt::format("client {}", owner)
                     : owner == -1 ? "server"
                                   : fmt::format("gateway {}", -2 - owner);
  if (lane > 0) name += fmt::format(" ({})", lane + 1);
  return name;
}

std::string json_line_of(const v1::Round& round) {
  Json object = {{"type", "round"}};
  add_fields(round, {"clients"}, object);
  return line(object);
}

std::string json_lines(const v1::Result& result) {
  Json run = {{"type", "run"}};
  add_fields(result, {"clients", "rounds", "events", "end_s", "stop_reason"}, run);
  std::string text = line(run);
  for (const v1::ClientSummary& summary : result.clients()) {
    Json client = {{"type", "client"}};
    add_fields(summary, {}, client);
    text += line(client);
  }
  std::vector<Dated> dated;
  add_phases(result.events(), dated);
  for (const v1::Round& round : result.rounds()) add_parts(round, dated);
  for (const v1::Round& round : result.rounds()) {
    dated.push_back({round.end_s(), json_line_of(round)});
  }
  for (const Dated& one : dated) ensure(std::isfinite(one.date_s), "a date is a number");
  std::stable_sort(dated.begin(), dated.end(),
                   [](const Dated& a, const Dated& b) { return a.date_s < b.date_s; });
  for (const Dated& one : dated) text += one.line;
  return text + line({{"type", "end"},
                      {"end_s", result.has_end_s() ? Json(result.end_s()) : Json()},
                      {"stop_reason", result.stop_reason()}});
}

}  // namespace fedclock::results
