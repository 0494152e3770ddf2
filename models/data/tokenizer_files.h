// Reading and writing of the small files that tokenisers are stored in.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace fedclock::data {

// Throws InputError when the file is not a JSON object.
nlohmann::json read_json_object(const std::filesystem::path& path);

// A boolean of a JSON object in a file; `otherwise` where the file or the key is missing. Throws
// InputError when the value is not a boolean.
bool read_flag(const std::filesystem::path& path, const std::string& key, bool otherwise);

// Makes the folder where it is missing. Throws InputError when the file cannot be written.
void write_file(const std::filesystem::path& path, std::string_view content);

}  // namespace fedclock::data
