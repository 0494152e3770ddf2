#include "models/data/tokenizer_files.h"

#include <fmt/format.h>

#include <fstream>

#include "models/common/error.h"
#include "models/data/text_file.h"

namespace fedclock::data {

nlohmann::json read_json_object(const std::filesystem::path& path) {
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(read_text_file(path).text);
  } catch (const nlohmann::json::parse_error& error) {
    throw InputError(
        fmt::format("{}: not JSON near byte {}: correct the file", path.string(), error.byte));
  }
  if (!object.is_object()) {
    throw InputError(path.string() + ": not a JSON object: correct the file");
  }
  return object;
}

bool read_flag(const std::filesystem::path& path, const std::string& key, bool otherwise) {
  if (!std::filesystem::exists(path)) return otherwise;
  const nlohmann::json object = read_json_object(path);
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return otherwise;
  if (!found->is_boolean()) {
    throw InputError(fmt::format("{}: field '{}': value {}: write true or false", path.string(),
                                 key, found->dump()));
  }
  return found->get<bool>();
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  std::ofstream out(path, std::ios::binary);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  out.close();
  if (!out) {
    throw InputError(path.string() + ": cannot be written: check the folder and the space left");
  }
}

}  // namespace fedclock::data
