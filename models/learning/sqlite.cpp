#include "models/learning/sqlite.h"

namespace fedclock::learning {

namespace {

[[noreturn]] void fail(sqlite3* connection, int code) {
  throw SqliteError(code & 0xff, connection ? sqlite3_errmsg(connection) : sqlite3_errstr(code));
}

}  // namespace

Sqlite::Sqlite(const std::filesystem::path& path, int flags) {
  const int code = sqlite3_open_v2(path.c_str(), &connection_, flags, nullptr);
  if (code == SQLITE_OK) return;
  const std::string what = sqlite3_errstr(code);
  sqlite3_close(connection_);
  throw SqliteError(code & 0xff, what);
}

Sqlite::~Sqlite() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(connection_);
}

sqlite3_stmt* Sqlite::prepared(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    const int code = sqlite3_prepare_v2(connection_, sql, -1, &statement, nullptr);
    if (code != SQLITE_OK) fail(connection_, code);
  }
  return statement;
}

void Sqlite::execute(const char* sql) {
  const int code = sqlite3_exec(connection_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(connection_, code);
}

int64_t Sqlite::integer(const char* sql) {
  Query query(*this, sql);
  return query.step() ? query.integer(0) : 0;
}

std::string Sqlite::text(const char* sql) {
  Query query(*this, sql);
  return query.step() ? std::string(query.blob(0)) : "";
}

Sqlite::Query::Query(Sqlite& sqlite, const char* sql)
    : connection_(sqlite.connection_), statement_(sqlite.prepared(sql)) {}

Sqlite::Query::~Query() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Sqlite::Query& Sqlite::Query::bind(int parameter, std::string_view blob) {
  // A null pointer would bind NULL: an empty blob is one of no bytes.
  const int code = sqlite3_bind_blob64(statement_, parameter, blob.empty() ? "" : blob.data(),
                                       blob.size(), SQLITE_STATIC);
  if (code != SQLITE_OK) fail(connection_, code);
  return *this;
}

Sqlite::Query& Sqlite::Query::bind(int parameter, int64_t value) {
  const int code = sqlite3_bind_int64(statement_, parameter, value);
  if (code != SQLITE_OK) fail(connection_, code);
  return *this;
}

Sqlite::Query& Sqlite::Query::bind(int parameter, double value) {
  const int code = sqlite3_bind_double(statement_, parameter, value);
  if (code != SQLITE_OK) fail(connection_, code);
  return *this;
}

bool Sqlite::Query::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  fail(connection_, code);
}

int64_t Sqlite::Query::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

double Sqlite::Query::real(int column) const { return sqlite3_column_double(statement_, column); }

std::string_view Sqlite::Query::blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

Transaction::~Transaction() {
  if (done_) return;
  try {
    sqlite_.execute("ROLLBACK");
  } catch (const SqliteError&) {  // SQLite has done it by itself
  }
}

void Transaction::commit() {
  sqlite_.execute("COMMIT");
  done_ = true;
}

}  // namespace fedclock::learning
