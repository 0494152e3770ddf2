#include "models/common/claims.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace fedclock {

namespace {

// False where another process holds the lock. Where the file system has no locks, all is granted.
bool set_lock(int file, short type, int64_t byte) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return fcntl(file, F_OFD_SETLK, &lock) == 0 || (errno != EAGAIN && errno != EACCES);
}

// Two names of one byte would only wait for each other.
int64_t byte_of(const Digest& name) { return static_cast<int64_t>(name.low >> 2); }

}  // namespace

Claims::Claim::~Claim() {
  if (file_) set_lock(*file_, F_UNLCK, byte_);
}

Claims::Claims(const std::filesystem::path& file) {
  const int descriptor = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) return;
  file_ = std::shared_ptr<const int>(new int(descriptor), [](const int* held) {
    close(*held);
    delete held;
  });
}

std::optional<Claims::Claim> Claims::try_claim(const Digest& name) const {
  const int64_t byte = byte_of(name);
  if (file_ && !set_lock(*file_, F_WRLCK, byte)) return std::nullopt;
  return Claim(file_, byte);
}

}  // namespace fedclock
