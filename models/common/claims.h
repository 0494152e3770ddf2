// Who works on what, across the processes of one machine: a lock file, in which a claim of a name
// is a lock on one byte (fcntl's open file description locks). The kernel lets go of it when the
// process ends, however it ends.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "models/common/digest.h"

namespace fedclock {

class Claims {
 public:
  // Released when it is destroyed. May outlive the Claims.
  class Claim {
   public:
    Claim(Claim&&) noexcept = default;
    Claim& operator=(Claim&&) noexcept = default;
    ~Claim();

   private:
    friend class Claims;
    Claim(std::shared_ptr<const int> file, int64_t byte) : file_(std::move(file)), byte_(byte) {}
    std::shared_ptr<const int> file_;  // empty: moved from, or granted without a lock file
    int64_t byte_;
  };

  // Makes the file where it is missing. Where that cannot be, every claim is granted: work may then
  // be done twice, which costs time and nothing else.
  explicit Claims(const std::filesystem::path& file);

  // Nothing where another process, or another Claims of this one, has claimed the name. Two claims
  // of one Claims do not exclude each other.
  std::optional<Claim> try_claim(const Digest& name) const;

 private:
  std::shared_ptr<const int> file_;  // a descriptor; empty: no lock file
};

}  // namespace fedclock
