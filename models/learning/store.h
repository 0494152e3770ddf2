// The memo store: what the learner's operations came to, by name. A SQLite file, shared by all runs
// and processes of a user.
//
// Numbers (losses, counts) are kept for ever; tensors up to a limit, those unused for longest are
// let go of first. Every entry carries a checksum of its name and content: what is damaged or
// missing is a miss, and the learner computes it again. After open() nothing throws: a store in
// trouble says so once and is left alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/common/digest.h"

namespace fedclock::learning {

class Sqlite;
class SqliteError;

struct StoreOptions {
  int64_t limit_bytes = int64_t{4} << 30;  // of all tensors
  std::function<void(const std::string&)> warn{};
};

class Store {
 public:
  // Opens or makes the file, folders too. Throws InputError where the file is no store of this
  // version of fedclock; nothing is then changed. nullptr, and a warning, where nothing can be kept
  // there: a folder without rights, a full disk.
  static std::unique_ptr<Store> open(const std::filesystem::path& path,
                                     const StoreOptions& options);
  ~Store();

  // Any thread.
  std::optional<std::vector<double>> numbers(const Digest& name);
  std::optional<std::string> tensors(const Digest& name);
  // Both or neither; empty tensors are none. Over what is there.
  void put(const Digest& name, std::span<const double> numbers, std::string_view tensors);

  struct Stats {
    int64_t numbers = 0, tensors = 0;  // entries
    int64_t tensor_bytes = 0, file_bytes = 0;
  };
  Stats stats();

  struct Verification {
    int64_t checked = 0, damaged = 0;  // entries
    std::string file;                  // SQLite's own check: "ok", or what it found
  };
  // Reads everything; with `remove`, deletes damaged entries.
  Verification verify(bool remove);

  // Lets go of the least recently used tensors beyond the limit and gives their space back to the
  // disk.
  void prune(int64_t limit_bytes);

  const std::filesystem::path& path() const { return path_; }

 private:
  Store(std::filesystem::path path, const StoreOptions& options);

  // With mutex_ held.
  std::optional<std::string> entry(const char* table, const Digest& name);
  void let_go(int64_t limit_bytes);
  int64_t tensor_bytes();
  void warn_once(const std::string& what);
  void note_busy(const SqliteError& error);

  std::filesystem::path path_;
  StoreOptions options_;
  std::mutex mutex_;
  std::unique_ptr<Sqlite> sqlite_;
  int64_t put_bytes_ = 0;  // since tensor_bytes() was asked for
  int64_t known_bytes_ = 0;
  bool writable_ = true;
  bool warned_ = false, was_busy_ = false;
};

}  // namespace fedclock::learning
