// A SQLite connection whose statements are prepared once. Errors are exceptions that the store
// turns into misses.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

namespace fedclock::learning {

class SqliteError : public std::runtime_error {
 public:
  SqliteError(int code, const std::string& what) : std::runtime_error(what), code_(code) {}
  int code() const { return code_; }  // primary result code, such as SQLITE_CORRUPT

 private:
  int code_;
};

class Sqlite {
 public:
  // `flags` of sqlite3_open_v2().
  Sqlite(const std::filesystem::path& path, int flags);
  ~Sqlite();
  Sqlite(const Sqlite&) = delete;
  Sqlite& operator=(const Sqlite&) = delete;

  // A statement being run. Parameters count from 1, columns from 0.
  class Query {
   public:
    Query(Sqlite& sqlite, const char* sql);
    ~Query();  // ready for the next use
    Query(const Query&) = delete;
    Query& operator=(const Query&) = delete;

    // The bytes must live until the query ends.
    Query& bind(int parameter, std::string_view blob);
    Query& bind(int parameter, int64_t value);
    Query& bind(int parameter, double value);
    bool step();  // to the next row; false: there is none
    int64_t integer(int column) const;
    double real(int column) const;
    std::string_view blob(int column) const;  // until the next step

   private:
    sqlite3* connection_;
    sqlite3_stmt* statement_;
  };

  void execute(const char* sql);
  int64_t integer(const char* sql);  // first column of the first row
  std::string text(const char* sql);
  int64_t changes() const { return sqlite3_changes(connection_); }  // rows of the last statement

 private:
  sqlite3_stmt* prepared(const char* sql);

  sqlite3* connection_ = nullptr;
  std::map<std::string, sqlite3_stmt*> statements_;
};

// BEGIN IMMEDIATE ... COMMIT; rolled back where commit() is not reached.
class Transaction {
 public:
  explicit Transaction(Sqlite& sqlite) : sqlite_(sqlite) { sqlite_.execute("BEGIN IMMEDIATE"); }
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Sqlite& sqlite_;
  bool done_ = false;
};

}  // namespace fedclock::learning
