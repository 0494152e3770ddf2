// A link or a processor that its users share equally, in closed form: n users of a capacity C get
// C / n each. That is what SimGrid's max-min sharing gives where nothing else limits them
// (tests/sim/platform/closed_form_test.cpp), without its cost, which grows with all that is under
// way anywhere.
#pragma once

#include <vector>

namespace fedclock::platform {

class FairShare;

class ShareUser {
 public:
  ShareUser() = default;
  ShareUser(const ShareUser&) = delete;
  ShareUser& operator=(const ShareUser&) = delete;

 protected:
  ~ShareUser();
  // Called with the date at which it will be done, whenever that changes.
  virtual void on_share(double end_s) = 0;
  FairShare* share() const { return share_; }

 private:
  friend class FairShare;

  FairShare* share_ = nullptr;
  double left_ = 0;  // as of the share's last change
};

class FairShare {
 public:
  FairShare() = default;
  explicit FairShare(double capacity) : capacity_(capacity) {}

  // From this date on. Amounts in the capacity's unit times seconds.
  void set_capacity(double capacity, double now_s);
  void join(ShareUser& user, double amount, double now_s);
  void leave(ShareUser& user, double now_s);
  // What the user still has before it, and another amount for it.
  double left(const ShareUser& user, double now_s) const;
  void set_left(ShareUser& user, double amount, double now_s);

 private:
  friend class ShareUser;

  double rate() const { return capacity_ / static_cast<double>(users_.size()); }
  void settle(double now_s);
  void tell() const;

  double capacity_ = 0;
  double since_s_ = 0;  // date of the last change
  std::vector<ShareUser*> users_;
};

}  // namespace fedclock::platform
