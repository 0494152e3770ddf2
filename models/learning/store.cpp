#include "models/learning/store.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "models/common/claims.h"
#include "models/common/error.h"
#include "models/learning/sqlite.h"

namespace fedclock::learning {

namespace {

namespace fs = std::filesystem;

constexpr int64_t kApplication = 0x66636c6b;     // "fclk": SQLite's application_id
constexpr int64_t kVersion = 1;                  // of the tables
constexpr int64_t kMostBlobBytes = 900'000'000;  // SQLite's limit is 10^9
// When there is too much, more than that is let go of, so that it is not done at every entry.
constexpr double kRoomAfterwards = 0.9;

constexpr const char* kTables = R"(
CREATE TABLE numbers (name BLOB PRIMARY KEY, value BLOB, checksum BLOB) WITHOUT ROWID;
CREATE TABLE tensors (name BLOB PRIMARY KEY, value BLOB, checksum BLOB, bytes INTEGER, used REAL);
CREATE INDEX tensors_by_use ON tensors (used, bytes);
)";

// Other programs' files may hold anything: no trust in their schema. Bytes travel by read(), not
// through mapped memory, whose errors would kill the process.
constexpr const char* kSettings = R"(
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA mmap_size = 0;
PRAGMA synchronous = NORMAL;
)";
constexpr int kBusyTimeout_ms = 30'000;

std::string_view bytes_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(&digest), sizeof digest};
}

Digest checksum(const char* table, const Digest& name, std::string_view value) {
  return DigestBuilder().add(table).add(name).add(value).finish();
}

std::string select_sql(const char* table) {
  return fmt::format("SELECT value, checksum FROM {} WHERE name = ?", table);
}

bool is_disk_trouble(int code) {
  return code == SQLITE_FULL || code == SQLITE_CANTOPEN || code == SQLITE_READONLY ||
         code == SQLITE_PERM || code == SQLITE_IOERR || code == SQLITE_BUSY ||
         code == SQLITE_LOCKED;
}

InputError foreign(const fs::path& path, const std::string& what) {
  return InputError(
      fmt::format("{}: {}: name another file with --store FILE, or go without one "
                  "with --no-store; this one was left as it is",
                  path.string(), what));
}

void check_identity(Sqlite& sqlite, const fs::path& path) {
  const int64_t application = sqlite.integer("PRAGMA application_id");
  const int64_t version = sqlite.integer("PRAGMA user_version");
  if (application != kApplication) {
    throw foreign(path, "a SQLite file of another program, not a store of fedclock");
  }
  if (version != kVersion) {
    throw foreign(path, fmt::format("a store of version {}; this fedclock reads version {}",
                                    version, kVersion));
  }
}

void make_tables(Sqlite& sqlite) {
  sqlite.execute("PRAGMA journal_mode = WAL");
  Transaction transaction(sqlite);
  sqlite.execute(kTables);
  sqlite.execute(fmt::format("PRAGMA application_id = {}", kApplication).c_str());
  sqlite.execute(fmt::format("PRAGMA user_version = {}", kVersion).c_str());
  transaction.commit();
}

// One process at a time opens a store, so that a second one does not find it half made.
Claims::Claim claim_opening(const fs::path& path) {
  const Claims claims(path.string() + ".claims");
  std::optional<Claims::Claim> claim;
  while (!(claim = claims.try_claim({}))) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return *std::move(claim);
}

bool is_empty(Sqlite& sqlite) {
  return sqlite.integer("PRAGMA application_id") == 0 &&
         sqlite.integer("SELECT count(*) FROM sqlite_master") == 0;
}

}  // namespace

Store::Store(fs::path path, const StoreOptions& options)
    : path_(std::move(path)), options_(options) {}

Store::~Store() = default;

std::unique_ptr<Store> Store::open(const fs::path& path, const StoreOptions& options) {
  std::unique_ptr<Store> store(new Store(path, options));
  const auto without = [&](const std::string& why) -> std::unique_ptr<Store> {
    store->warn_once(
        fmt::format("{}; nothing will be kept (--store FILE names another file)", why));
    return nullptr;
  };
  std::error_code error;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), error);
  const Claims::Claim opening = claim_opening(path);
  try {
    try {
      store->sqlite_ = std::make_unique<Sqlite>(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    } catch (const SqliteError&) {
      if (!fs::exists(path, error)) throw;
      store->sqlite_ = std::make_unique<Sqlite>(path, SQLITE_OPEN_READONLY);
    }
    Sqlite& sqlite = *store->sqlite_;
    sqlite.execute(fmt::format("PRAGMA busy_timeout = {}", kBusyTimeout_ms).c_str());
    sqlite.execute(kSettings);
    if (is_empty(sqlite)) make_tables(sqlite);
    check_identity(sqlite, path);
  } catch (const SqliteError& problem) {
    if (problem.code() == SQLITE_NOTADB) throw foreign(path, "not a store of fedclock");
    if (problem.code() == SQLITE_CORRUPT) throw foreign(path, "a damaged file");
    return without(fmt::format("the store {} cannot be opened: {}", path.string(), problem.what()));
  }
  return store;
}

void Store::warn_once(const std::string& what) {
  if (std::exchange(warned_, true) || !options_.warn) return;
  options_.warn(what);
}

std::optional<std::string> Store::entry(const char* table, const Digest& name) {
  try {
    Sqlite::Query query(*sqlite_, select_sql(table).c_str());
    query.bind(1, bytes_of(name));
    if (!query.step()) return std::nullopt;
    std::string value(query.blob(0));
    if (query.blob(1) == bytes_of(checksum(table, name, value))) return value;
    warn_once(
        fmt::format("the store {} is damaged: what is damaged is computed again; `fedclock "
                    "store verify` says more",
                    path_.string()));
  } catch (const SqliteError& error) {
    warn_once(
        fmt::format("the store {} cannot be read everywhere ({}): what is missing is "
                    "computed again; `fedclock store verify` says more",
                    path_.string(), error.what()));
  }
  return std::nullopt;
}

std::optional<std::vector<double>> Store::numbers(const Digest& name) {
  const std::lock_guard lock(mutex_);
  const std::optional<std::string> bytes = entry("numbers", name);
  if (!bytes || bytes->size() % sizeof(double) != 0) return std::nullopt;
  std::vector<double> numbers(bytes->size() / sizeof(double));
  if (!numbers.empty()) std::memcpy(numbers.data(), bytes->data(), bytes->size());
  return numbers;
}

std::optional<std::string> Store::tensors(const Digest& name) {
  const std::lock_guard lock(mutex_);
  std::optional<std::string> bytes = entry("tensors", name);
  if (!bytes || !writable_) return bytes;
  try {
    // A minute's precision spares most writes.
    Sqlite::Query touch(*sqlite_,
                        "UPDATE tensors SET used = julianday('now') WHERE name = ? AND used < "
                        "julianday('now', '-1 minute')");
    touch.bind(1, bytes_of(name)).step();
  } catch (const SqliteError& error) {  // only the order of letting go suffers
    note_busy(error);
  }
  return bytes;
}

// Who has waited in vain once does not wait as long for every job.
void Store::note_busy(const SqliteError& error) {
  if (error.code() != SQLITE_BUSY || std::exchange(was_busy_, true)) return;
  try {
    sqlite_->execute("PRAGMA busy_timeout = 100");
  } catch (const SqliteError&) {  // then it waits
  }
}

void Store::put(const Digest& name, std::span<const double> numbers, std::string_view tensors) {
  const std::string_view value(reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes());
  const Digest of_numbers = checksum("numbers", name, value);
  const Digest of_tensors = checksum("tensors", name, tensors);
  const auto bytes = static_cast<int64_t>(tensors.size());
  const bool keeps_tensors = bytes > 0 && bytes <= kMostBlobBytes && bytes <= options_.limit_bytes;
  const std::lock_guard lock(mutex_);
  if (!writable_) return;
  try {
    Transaction transaction(*sqlite_);
    Sqlite::Query(*sqlite_, "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)")
        .bind(1, bytes_of(name))
        .bind(2, value)
        .bind(3, bytes_of(of_numbers))
        .step();
    if (keeps_tensors) {
      Sqlite::Query(*sqlite_,
                    "INSERT OR REPLACE INTO tensors VALUES (?, ?, ?, ?, julianday('now'))")
          .bind(1, bytes_of(name))
          .bind(2, tensors)
          .bind(3, bytes_of(of_tensors))
          .bind(4, bytes)
          .step();
      put_bytes_ += bytes;
      // Other processes put entries there, too: the whole is counted from time to time.
      const bool asked_lately = known_bytes_ > 0 && put_bytes_ < options_.limit_bytes / 16;
      if (!asked_lately || known_bytes_ + put_bytes_ > options_.limit_bytes) {
        if (tensor_bytes() > options_.limit_bytes) {
          let_go(static_cast<int64_t>(static_cast<double>(options_.limit_bytes) * kRoomAfterwards));
        }
      }
    }
    transaction.commit();
  } catch (const SqliteError& error) {
    note_busy(error);
    // A busy or full disk may recover; a damaged or read-only file will not.
    writable_ = is_disk_trouble(error.code()) && error.code() != SQLITE_READONLY;
    warn_once(
        fmt::format("the store {} cannot be written ({}): the run goes on without keeping "
                    "what it learns",
                    path_.string(), error.what()));
  }
}

int64_t Store::tensor_bytes() {
  put_bytes_ = 0;
  known_bytes_ = sqlite_->integer("SELECT total(bytes) FROM tensors");
  return known_bytes_;
}

void Store::let_go(int64_t limit_bytes) {
  int64_t left = tensor_bytes();
  while (left > limit_bytes) {
    int64_t row = 0, bytes = 0;
    {
      Sqlite::Query oldest(*sqlite_,
                           "SELECT rowid, bytes FROM tensors ORDER BY used, rowid LIMIT 1");
      if (!oldest.step()) break;
      row = oldest.integer(0);
      bytes = oldest.integer(1);
    }
    Sqlite::Query(*sqlite_, "DELETE FROM tensors WHERE rowid = ?").bind(1, row).step();
    // The row comes from an index, which damage may have made point nowhere.
    if (bytes <= 0 || sqlite_->changes() == 0) {
      throw SqliteError(SQLITE_CORRUPT, "the index of tensors is damaged");
    }
    left -= bytes;
  }
  tensor_bytes();
}

Store::Stats Store::stats() {
  const std::lock_guard lock(mutex_);
  Stats stats;
  try {
    stats.numbers = sqlite_->integer("SELECT count(*) FROM numbers");
    stats.tensors = sqlite_->integer("SELECT count(*) FROM tensors");
    stats.tensor_bytes = tensor_bytes();
    stats.file_bytes = sqlite_->integer("PRAGMA page_count") * sqlite_->integer("PRAGMA page_size");
  } catch (const SqliteError& error) {
    throw InputError(fmt::format("{}: damaged ({}): `fedclock store verify` says more",
                                 path_.string(), error.what()));
  }
  return stats;
}

Store::Verification Store::verify(bool remove) {
  const std::lock_guard lock(mutex_);
  Verification result;
  for (const char* table : {"numbers", "tensors"}) {
    std::vector<std::string> damaged;
    try {
      const std::string sql = fmt::format("SELECT name, value, checksum FROM {}", table);
      Sqlite::Query query(*sqlite_, sql.c_str());
      while (query.step()) {
        ++result.checked;
        const std::string name(query.blob(0));
        Digest digest;
        if (name.size() == sizeof digest) std::memcpy(&digest, name.data(), sizeof digest);
        if (query.blob(2) == bytes_of(checksum(table, digest, query.blob(1)))) continue;
        ++result.damaged;
        damaged.push_back(name);
      }
    } catch (const SqliteError&) {
      ++result.damaged;  // the rest of the table; the file's check below says where
    }
    if (!remove) continue;
    const std::string sql = fmt::format("DELETE FROM {} WHERE name = ?", table);
    for (const std::string& name : damaged) {
      try {
        Sqlite::Query(*sqlite_, sql.c_str()).bind(1, name).step();
      } catch (const SqliteError&) {  // a miss, as it was
      }
    }
  }
  try {
    if (remove) sqlite_->execute("REINDEX");
    result.file = sqlite_->text("PRAGMA integrity_check(1)");
  } catch (const SqliteError& error) {
    result.file = error.what();
  }
  return result;
}

void Store::prune(int64_t limit_bytes) {
  const std::lock_guard lock(mutex_);
  try {
    Transaction transaction(*sqlite_);
    let_go(limit_bytes);
    transaction.commit();
    sqlite_->execute("VACUUM");
    sqlite_->execute("PRAGMA wal_checkpoint(TRUNCATE)");
  } catch (const SqliteError& error) {
    throw InputError(
        fmt::format("{}: cannot be pruned ({}): is the disk full, or another run using "
                    "it?",
                    path_.string(), error.what()));
  }
}

}  // namespace fedclock::learning
