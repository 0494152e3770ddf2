// Reads the fields of a JSON object; each problem is an InputError that names file, field, value
// and remedy. A field that is null counts as absent, as in Python's configuration files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace fedclock::nn {

class JsonFields {
 public:
  // Keeps references: `path` and `json` must outlive it. `inside` is the way to a nested object,
  // such as "rope_scaling.".
  JsonFields(const std::filesystem::path& path, const nlohmann::json& json,
             std::string inside = "");

  bool has(const char* key) const;

  // A whole number from 0 to 2^30. Without `otherwise` the field must be there; so below.
  int64_t size(const char* key) const;
  int64_t size(const char* key, int64_t otherwise) const;
  // A number above 0.
  double positive(const char* key) const;
  double positive(const char* key, double otherwise) const;
  bool flag(const char* key, bool otherwise) const;
  std::string text(const char* key, std::string_view otherwise) const;
  // A nested object that has() found.
  JsonFields object(const char* key) const;

  // For a switch of which fedclock computes one position: absent, or `computed`.
  void only(const char* key, const nlohmann::json& computed) const;

  [[noreturn]] void fail(std::string_view key, std::string_view what,
                         std::string_view remedy) const;

 private:
  const std::filesystem::path& path_;
  const nlohmann::json& json_;
  std::string inside_;
};

}  // namespace fedclock::nn
