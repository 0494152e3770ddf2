// JSON as text, for all files that hold it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace fedclock::results {

// On one line. What is not finite is null; bytes that are no UTF-8 (of a file's names) are
// replaced.
inline std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace fedclock::results
