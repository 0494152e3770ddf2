#include "sim/platform/fair_share.h"

#include <algorithm>

namespace fedclock::platform {

ShareUser::~ShareUser() {
  // Dropped where it is: the others keep their dates until the next change.
  if (share_ != nullptr) std::erase(share_->users_, this);
}

void FairShare::settle(double now_s) {
  for (ShareUser* user : users_) user->left_ = left(*user, now_s);
  since_s_ = now_s;
}

void FairShare::tell() const {
  for (ShareUser* user : users_) user->on_share(since_s_ + user->left_ / rate());
}

void FairShare::set_capacity(double capacity, double now_s) {
  if (capacity == capacity_) return;
  settle(now_s);
  capacity_ = capacity;
  tell();
}

void FairShare::join(ShareUser& user, double amount, double now_s) {
  settle(now_s);
  user.share_ = this;
  user.left_ = amount;
  users_.push_back(&user);
  tell();
}

void FairShare::leave(ShareUser& user, double now_s) {
  settle(now_s);
  std::erase(users_, &user);
  user.share_ = nullptr;
  tell();
}

double FairShare::left(const ShareUser& user, double now_s) const {
  return std::max(0.0, user.left_ - rate() * (now_s - since_s_));
}

void FairShare::set_left(ShareUser& user, double amount, double now_s) {
  settle(now_s);
  user.left_ = amount;
  tell();
}

}  // namespace fedclock::platform
