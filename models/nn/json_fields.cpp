#include "models/nn/json_fields.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "models/common/error.h"

namespace fedclock::nn {

namespace {
constexpr std::string_view kTakePublished = "take it from the model's published configuration";
}

JsonFields::JsonFields(const std::filesystem::path& path, const nlohmann::json& json,
                       std::string inside)
    : path_(path), json_(json), inside_(std::move(inside)) {}

bool JsonFields::has(const char* key) const {
  const auto found = json_.find(key);
  return found != json_.end() && !found->is_null();
}

int64_t JsonFields::size(const char* key) const {
  if (!has(key)) fail(key, "is missing", kTakePublished);
  constexpr int64_t kMost = int64_t{1} << 30;  // products of two sizes stay below 2^63
  const auto& value = json_[key];
  if (!value.is_number_integer() || value < 0 || value > kMost) {
    fail(key, "is " + value.dump(), fmt::format("a whole number from 0 to {} is needed", kMost));
  }
  return value.get<int64_t>();
}

int64_t JsonFields::size(const char* key, int64_t otherwise) const {
  return has(key) ? size(key) : otherwise;
}

double JsonFields::positive(const char* key) const {
  if (!has(key)) fail(key, "is missing", kTakePublished);
  const auto& value = json_[key];
  if (!value.is_number() || !(value.get<double>() > 0)) {
    fail(key, "is " + value.dump(), "a number above 0 is needed");
  }
  return value.get<double>();
}

double JsonFields::positive(const char* key, double otherwise) const {
  return has(key) ? positive(key) : otherwise;
}

bool JsonFields::flag(const char* key, bool otherwise) const {
  if (!has(key)) return otherwise;
  if (!json_[key].is_boolean()) fail(key, "is " + json_[key].dump(), "true or false is needed");
  return json_[key].get<bool>();
}

std::string JsonFields::text(const char* key, std::string_view otherwise) const {
  if (!has(key)) return std::string(otherwise);
  if (!json_[key].is_string()) fail(key, "is " + json_[key].dump(), "a string is needed");
  return json_[key].get<std::string>();
}

JsonFields JsonFields::object(const char* key) const {
  if (!json_[key].is_object()) fail(key, "is " + json_[key].dump(), "an object is needed");
  return JsonFields(path_, json_[key], inside_ + key + ".");
}

void JsonFields::only(const char* key, const nlohmann::json& computed) const {
  if (!has(key) || json_[key] == computed) return;
  fail(key, "is " + json_[key].dump(),
       fmt::format("fedclock computes only {}: choose another checkpoint", computed.dump()));
}

void JsonFields::fail(std::string_view key, std::string_view what, std::string_view remedy) const {
  throw InputError(
      fmt::format("{}: field {}{} {}: {}", path_.string(), inside_, key, what, remedy));
}

}  // namespace fedclock::nn
