#include "models/learning/store.h"

#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>
#include <thread>

#include "models/common/error.h"
#include "models/common/random.h"
#include "tests/models/nn/folder.h"

namespace fedclock::learning {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using Numbers = std::vector<double>;

constexpr int64_t kRoom = 1 << 24;

Digest name(int64_t i) { return DigestBuilder().add("entry").add(i).finish(); }
Numbers numbers_of(int64_t i) { return {0.5 * static_cast<double>(i), -1.0 / 3}; }
std::string tensors_of(int64_t i, size_t size) {
  std::string bytes(size, '\0');
  for (size_t k = 0; k < size; ++k) bytes[k] = static_cast<char>(k * 31 + static_cast<size_t>(i));
  return bytes;
}

// Opens the store; what it warns of is added to `warnings`.
std::unique_ptr<Store> open(const fs::path& path, int64_t limit = kRoom,
                            std::vector<std::string>* warnings = nullptr) {
  return Store::open(path, {.limit_bytes = limit, .warn = [warnings](const std::string& text) {
                              if (warnings != nullptr) warnings->push_back(text);
                            }});
}

void fill(Store& store, int64_t entries, size_t bytes) {
  for (int64_t i = 0; i < entries; ++i) store.put(name(i), numbers_of(i), tensors_of(i, bytes));
}

// Right or missing: how many are there.
int64_t count_right(Store& store, int64_t entries, size_t bytes) {
  int64_t found = 0;
  for (int64_t i = 0; i < entries; ++i) {
    if (const auto numbers = store.numbers(name(i))) {
      CHECK(*numbers == numbers_of(i));
      ++found;
    }
    if (const auto tensors = store.tensors(name(i))) CHECK(*tensors == tensors_of(i, bytes));
  }
  return found;
}

TEST_CASE("store: what is put is there, also after it is opened again") {
  const nn::Folder folder;
  const fs::path path = folder / "deep/store.sqlite";
  {
    const auto store = open(path);
    CHECK_FALSE(store->numbers(name(0)));
    fill(*store, 20, 100);
    store->put(name(20), {}, "");  // no numbers are numbers, too
    store->put(name(3), numbers_of(30), tensors_of(30, 5));
  }
  const auto store = open(path);
  CHECK(store->numbers(name(7)) == numbers_of(7));
  CHECK(store->tensors(name(7)) == tensors_of(7, 100));
  CHECK(store->numbers(name(20)) == Numbers{});
  CHECK_FALSE(store->tensors(name(20)));
  CHECK(store->numbers(name(3)) == numbers_of(30));
  CHECK(store->tensors(name(3)) == tensors_of(30, 5));
  CHECK_FALSE(store->numbers(name(21)));
  const Store::Stats stats = store->stats();
  CHECK(stats.numbers == 21);
  CHECK(stats.tensors == 20);
  CHECK(stats.tensor_bytes == 19 * 100 + 5);
  const Store::Verification verification = store->verify(false);
  CHECK(verification.checked == 41);
  CHECK(verification.damaged == 0);
  CHECK(verification.file == "ok");
}

TEST_CASE("store: tensors stay within the limit, the least recently used go; numbers stay") {
  const nn::Folder folder;
  const auto store = open(folder / "s", 10'000);
  fill(*store, 9, 1000);
  CHECK(store->stats().tensors == 9);
  fill(*store, 9, 1000);  // the same again takes no more room
  CHECK(store->stats().tensors == 9);
  for (int64_t i = 9; i < 30; ++i) {
    store->put(name(i), numbers_of(i), tensors_of(i, 1000));
    CHECK(store->stats().tensor_bytes <= 10'000);
  }
  CHECK(store->stats().tensor_bytes >= 8'000);
  CHECK(store->stats().numbers == 30);
  CHECK_FALSE(store->tensors(name(0)));
  CHECK(store->tensors(name(29)));
  store->put(name(99), numbers_of(99), tensors_of(99, 10'001));  // alone too large
  CHECK_FALSE(store->tensors(name(99)));
  CHECK(store->tensors(name(29)));
  store->prune(2'500);
  CHECK(store->stats().tensors == 2);
  CHECK(store->numbers(name(0)) == numbers_of(0));
  const auto none = open(folder / "none", 0);
  fill(*none, 3, 10);
  CHECK(none->stats().tensors == 0);
  CHECK(none->numbers(name(2)) == numbers_of(2));
}

void flip_bit(const fs::path& path, Random& random) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto place = static_cast<std::streamoff>(random.below(fs::file_size(path)));
  file.seekg(place);
  const int byte = file.get();
  file.seekp(place);
  file.put(static_cast<char>(byte ^ (1 << random.below(8))));
}

TEST_CASE("store: a flipped bit is a miss or a refusal, never another value") {
  const nn::Folder folder;
  const fs::path whole = folder / "whole", copy = folder / "copy";
  const bool in_log = GENERATE(false, true);  // bits of the write-ahead log instead
  const auto writer = open(whole);
  fill(*writer, 40, 3000);
  if (!in_log) writer->prune(kRoom);  // moves the log into the file
  int64_t found = 0, refused = 0;
  for (int64_t trial = 0; trial < 200; ++trial) {
    fs::copy_file(whole, copy);
    if (in_log) fs::copy_file(whole.string() + "-wal", copy.string() + "-wal");
    Random random(7, "flip", trial);
    flip_bit(copy.string() + (in_log ? "-wal" : ""), random);
    std::vector<std::string> warnings;
    try {
      const auto store = open(copy, kRoom, &warnings);
      if (store) {
        const int64_t there = count_right(*store, 40, 3000);
        found += there;
        if (!in_log && there < 40) CHECK(warnings.size() == 1);
        // Going on writes over what is damaged, or says that it cannot.
        fill(*store, 40, 3000);
        if (warnings.empty()) CHECK(count_right(*store, 40, 3000) == 40);
      }
    } catch (const InputError& error) {
      ++refused;
      CHECK_THAT(error.what(), Contains("--no-store"));
    }
    for (const char* suffix : {"", "-wal", "-shm", ".claims"}) fs::remove(copy.string() + suffix);
  }
  CHECK(refused <= 5);  // only where the file is not known for a store any more
  CHECK(found >= (in_log ? 200 * 10 : 200 * 35));
}

TEST_CASE("store: damaged entries are found, removed and written again") {
  const nn::Folder folder;
  const fs::path path = folder / "s";
  {
    const auto store = open(path);
    fill(*store, 10, 100);
    store->prune(kRoom);
  }
  sqlite3* connection = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &connection) == SQLITE_OK);
  sqlite3_exec(connection,
               "UPDATE tensors SET value = zeroblob(100) WHERE rowid = 4;"
               "UPDATE numbers SET value = x'0000' WHERE name = (SELECT min(name) FROM numbers);",
               nullptr, nullptr, nullptr);
  sqlite3_close(connection);
  std::vector<std::string> warnings;
  const auto store = open(path, kRoom, &warnings);
  CHECK(store->verify(false).damaged == 2);
  CHECK(count_right(*store, 10, 100) == 9);
  CHECK_FALSE(store->tensors(name(3)));
  REQUIRE(warnings.size() == 1);
  CHECK_THAT(warnings[0], Contains("damaged"));
  CHECK(store->verify(true).damaged == 2);
  CHECK(store->verify(false).damaged == 0);
  CHECK(store->stats().tensors == 9);
  fill(*store, 10, 100);
  CHECK(count_right(*store, 10, 100) == 10);
}

TEST_CASE("store: other people's files are refused and left alone") {
  const nn::Folder folder;
  const fs::path path = folder / "s";
  const auto run_sql = [&](const char* sql) {
    sqlite3* connection = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &connection) == SQLITE_OK);
    REQUIRE(sqlite3_exec(connection, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(connection);
  };
  const auto refuses = [&](const char* why) {
    std::ifstream before(path, std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(before), {}};
    CHECK_THROWS_AS(open(path), InputError);
    CHECK_THROWS_WITH(open(path), Contains(why) && Contains(path.string()) &&
                                      Contains("--store FILE") && Contains("--no-store"));
    std::ifstream after(path, std::ios::binary);
    CHECK(std::string{std::istreambuf_iterator<char>(after), {}} == content);
  };
  std::ofstream(path) << "a letter to nobody, long enough to look like a file of some sort ......"
                         "..............................................";
  refuses("not a store");
  fs::remove(path);
  run_sql("CREATE TABLE letters (text)");
  refuses("of another program");
  fs::remove(path);
  open(path);
  run_sql("PRAGMA user_version = 2");
  refuses("version 2");
}

TEST_CASE("store: without a place to keep anything there is no store, and one warning") {
  std::vector<std::string> warnings;
  CHECK_FALSE(open("/proc/no/such/place/store.sqlite", kRoom, &warnings));
  REQUIRE(warnings.size() == 1);
  CHECK_THAT(warnings[0], Contains("cannot be opened") && Contains("--store FILE"));
}

// In a child process, because its limits stay with it.
int exit_code_of(const std::function<int()>& work) {
  const pid_t child = fork();
  if (child == 0) _exit(work());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_CASE("store: a full disk is said once; what was there stays") {
  const nn::Folder folder;
  const fs::path path = folder / "s";
  fill(*open(path), 10, 1000);
  CHECK(exit_code_of([&] {
          signal(SIGXFSZ, SIG_IGN);
          const rlimit limit{200'000, 200'000};  // bytes of any file
          setrlimit(RLIMIT_FSIZE, &limit);
          std::vector<std::string> warnings;
          const auto store = open(path, kRoom, &warnings);
          for (int64_t i = 10; i < 500; ++i) {
            store->put(name(i), numbers_of(i), tensors_of(i, 1000));
          }
          const bool there = store->numbers(name(5)) == numbers_of(5);
          return there && warnings.size() == 1 ? 0 : 1;
        }) == 0);
  const auto store = open(path);
  CHECK(count_right(*store, 500, 1000) >= 10);
  CHECK(store->verify(false).damaged == 0);
}

TEST_CASE("store: writers that are killed lose nothing that was there") {
  const nn::Folder folder;
  const fs::path path = folder / "s";
  int64_t before = 0;
  for (int64_t round = 0; round < 12; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      const auto store = open(path);
      for (int64_t i = before;; ++i) store->put(name(i), numbers_of(i), tensors_of(i, 500));
    }
    Random random(3, "kill", round);
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + random.below(40)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const auto store = open(path);
    const int64_t now = store->stats().numbers;
    CHECK(now >= before);
    CHECK(count_right(*store, now, 500) == now);
    before = now;
  }
  CHECK(before > 100);
}

TEST_CASE("store: processes write side by side") {
  const nn::Folder folder;
  const fs::path path = folder / "s";
  std::vector<pid_t> children;
  for (int64_t child = 0; child < 3; ++child) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    int warned = 0;
    const auto store =
        Store::open(path, {.limit_bytes = kRoom, .warn = [&](const std::string&) { ++warned; }});
    for (int64_t i = child; i < 150; i += 3) store->put(name(i), numbers_of(i), tensors_of(i, 999));
    _exit(warned);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  CHECK(count_right(*open(path), 150, 999) == 150);
}

}  // namespace
}  // namespace fedclock::learning
