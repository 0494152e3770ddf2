#include "models/common/claims.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <string>

namespace fedclock {
namespace {

const Digest kName = {1, 0xfedcba9876543210};
const Digest kOther = {1, 0x0123456789abcdef};

std::filesystem::path lock_file() {
  return std::filesystem::temp_directory_path() / ("fedclock-claims-" + std::to_string(getpid()));
}

// Whether another process can claim the name now.
bool is_free(const std::filesystem::path& file, const Digest& name) {
  const pid_t child = fork();
  if (child == 0) _exit(Claims(file).try_claim(name) ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  return status == 0;
}

TEST_CASE("claims: a name has one claimant at a time, other names are free") {
  const auto file = lock_file();
  {
    std::optional<Claims::Claim> outlives;
    {
      const Claims claims(file);
      outlives = claims.try_claim(kName);
      REQUIRE(outlives);
    }
    CHECK_FALSE(is_free(file, kName));
    CHECK(is_free(file, kOther));
    const Claims::Claim moved = *std::move(outlives);
    outlives.reset();
    CHECK_FALSE(is_free(file, kName));
  }
  CHECK(is_free(file, kName));
  std::filesystem::remove(file);
}

TEST_CASE("claims: the kernel lets go of a killed process's") {
  const auto file = lock_file();
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto claim = Claims(file).try_claim(kName);
    (void)!write(ready[1], "x", 1);
    pause();
    _exit(0);
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  CHECK_FALSE(Claims(file).try_claim(kName));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  CHECK(Claims(file).try_claim(kName));
  std::filesystem::remove(file);
}

TEST_CASE("claims: without a lock file all are granted") {
  const Claims claims("/proc/no/such/folder/claims");
  CHECK(claims.try_claim(kName));
  CHECK(claims.try_claim(kName));
}

}  // namespace
}  // namespace fedclock
