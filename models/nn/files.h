// Small files of a checkpoint folder: JSON in and out, and files that appear only when complete.
#pragma once

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace fedclock::nn {

// A file written beside its final place and renamed there by commit(), so that a reader sees the
// old content or the whole new one. Without commit() nothing is left behind.
class AtomicFile {
 public:
  // Creates missing folders. Throws InputError when nothing can be written there.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, size_t count);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  [[noreturn]] void fail(std::string_view what) const;

  std::filesystem::path path_;
  std::filesystem::path partial_;
  std::FILE* file_ = nullptr;
};

// A JSON object from a file. Throws InputError with file, byte and remedy.
nlohmann::json read_json_object(const std::filesystem::path& path);

// Indented, with keys in the order of the object given and a newline at the end.
void write_json(const std::filesystem::path& path, const nlohmann::ordered_json& value);

}  // namespace fedclock::nn
