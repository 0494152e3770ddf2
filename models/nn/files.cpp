#include "models/nn/files.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "models/common/error.h"

namespace fedclock::nn {

namespace fs = std::filesystem;

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  std::error_code ignored;  // What matters is whether the file below can be made.
  if (path_.has_parent_path()) fs::create_directories(path_.parent_path(), ignored);
  // "x" makes the file or fails, so two writers of the same path never share a partial file.
  constexpr int kNames = 1000;
  for (int i = 0; i < kNames && file_ == nullptr; ++i) {
    partial_ = path_;
    partial_ += fmt::format(".partial-{}", i);
    file_ = std::fopen(partial_.c_str(), "wbx");
    if (file_ == nullptr && errno != EEXIST) break;
  }
  if (file_ == nullptr) fail("cannot be created");
}

AtomicFile::~AtomicFile() {
  if (file_ != nullptr) std::fclose(file_);
  std::error_code ignored;
  if (!partial_.empty()) fs::remove(partial_, ignored);
}

void AtomicFile::write(const void* bytes, size_t count) {
  if (count > 0 && std::fwrite(bytes, 1, count, file_) != count) fail("cannot be written");
}

void AtomicFile::commit() {
  // On disk before the rename: a crash must not leave a complete name over missing bytes.
  if (std::fflush(file_) != 0 || fsync(fileno(file_)) != 0) fail("cannot be written");
  if (std::fclose(std::exchange(file_, nullptr)) != 0) fail("cannot be written");
  std::error_code error;
  fs::rename(partial_, path_, error);
  if (error) {
    throw InputError(fmt::format("{}: cannot be replaced ({}): remove what is there",
                                 path_.string(), error.message()));
  }
  partial_.clear();
}

void AtomicFile::fail(std::string_view what) const {
  throw InputError(fmt::format("{}: {} ({}): check the folder, its permissions and the free space",
                               path_.string(), what, std::strerror(errno)));
}

nlohmann::json read_json_object(const fs::path& path) {
  std::error_code ignored;
  std::ifstream in(path, std::ios::binary);
  if (!fs::is_regular_file(path, ignored) || !in) {
    throw InputError(fmt::format("{}: no such file: a checkpoint folder needs it", path.string()));
  }
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  try {
    auto value = nlohmann::json::parse(text);
    if (value.is_object()) return value;
  } catch (const nlohmann::json::exception& error) {
    throw InputError(fmt::format("{}: is not JSON ({}): get the file again or correct it",
                                 path.string(), error.what()));
  }
  throw InputError(fmt::format("{}: holds no JSON object: it must begin with {{", path.string()));
}

void write_json(const fs::path& path, const nlohmann::ordered_json& value) {
  AtomicFile file(path);
  file.write(value.dump(2) + "\n");
  file.commit();
}

}  // namespace fedclock::nn
