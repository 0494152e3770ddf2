#include <fmt/format.h>
#include <simgrid/s4u.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/platform/platform.h"

namespace fedclock::platform {

namespace s4u = simgrid::s4u;
using kernel::EventKind;

namespace {

// Byte/s that no flow reaches.
constexpr double kUnbounded = 1e15;

}  // namespace

DeviceOperation::DeviceOperation(Platform& platform, std::size_t host, EventKind kind,
                                 double amount, std::vector<double> by_mode)
    : ActivityOperation(platform.simulation_,
                        host + 1 == platform.hosts_.size() ? kernel::kServer
                                                           : static_cast<kernel::DeviceId>(host),
                        kind),
      platform_(&platform),
      host_(host),
      amount_(amount),
      by_mode_(std::move(by_mode)) {}

void DeviceOperation::begin() {
  start_s_ = agenda().now_s();
  const Built::Host& host = platform_->hosts_[host_].built;
  if (kind() == EventKind::kDownload) start_s_ += host.down_latency_s;
  if (kind() == EventKind::kUpload) start_s_ += host.up_latency_s;
  on_date();
  begun_ = true;
}

// The latency is over, or something that the operation depends on has changed.
void DeviceOperation::on_date() {
  if (!check_presence()) return;
  if (!started_ && agenda().now_s() < start_s_) {
    return arm(std::min(start_s_, next_change_s_));
  }
  // SimGrid bounds a flow by the bandwidth that its links have when it starts, for good: a link
  // whose bandwidth changes gets the present one after that.
  if (is_transfer() && !started_) start_activity(1);
  adapt();
  if (!is_transfer() && !started_) start_activity(1);
  started_ = true;
  if (waiting() && std::isfinite(next_change_s_)) arm(next_change_s_);
}

bool DeviceOperation::check_presence() {
  const Platform::Broken broken =
      platform_->broken(platform_->hosts_[host_], is_transfer(), agenda().now_s());
  next_change_s_ = broken.until_s;
  if (broken.what == nullptr) return true;
  fail(fmt::format("'{}' {} {}", *broken.name, begun_ ? "went" : "is", broken.what));
  return false;
}

// The link's bandwidth and the device's power mode, as they are from this date on.
void DeviceOperation::adapt() {
  Platform::Host& host = platform_->hosts_[host_];
  if (is_transfer()) {
    if (!host.bandwidth) return;
    const Rates rates = host.bandwidth->at(agenda().now_s());
    next_change_s_ = std::min(next_change_s_, rates.until_s);
    own_link()->set_bandwidth(kind() == EventKind::kUpload ? rates.up_bytes_s : rates.down_bytes_s);
    return;
  }
  if (!host.mode_changes) return;
  const ModeChanges::Mode mode = host.mode_changes->at(agenda().now_s(), platform_->round_, host_);
  next_change_s_ = std::min(next_change_s_, mode.until_s);
  if (started_ && mode.number == mode_) return;
  const double left = started_ ? activity_share() : 1;
  const bool other_amount = !by_mode_.empty();
  if (started_ && other_amount) drop_activity();
  mode_ = mode.number;
  host.built.host->set_pstate(mode_);
  if (started_ && other_amount) start_activity(left);
}

s4u::Link* DeviceOperation::own_link() const {
  const Built::Host& host = platform_->hosts_[host_].built;
  return kind() == EventKind::kUpload ? host.up : host.down;
}

void DeviceOperation::start_activity(double share) {
  s4u::Host& host = *platform_->hosts_[host_].built.host;
  s4u::Host& server = *platform_->hosts_.back().built.host;
  begun_share_ = share;
  if (is_transfer() && platform_->hosts_[host_].bandwidth) own_link()->set_bandwidth(kUnbounded);
  switch (kind()) {
    case EventKind::kDownload:
      start_transfer(server, host, static_cast<std::uint64_t>(std::ceil(amount_)));
      break;
    case EventKind::kUpload:
      start_transfer(host, server, static_cast<std::uint64_t>(std::ceil(amount_)));
      break;
    default: start_execution(host, amount() * share * platform_->hosts_[host_].speed_scale);
  }
}

// Share of the whole that is still to do.
double DeviceOperation::activity_share() const {
  const double whole =
      is_transfer() ? std::ceil(amount_) : amount() * platform_->hosts_[host_].speed_scale;
  return std::min(begun_share_, remaining() / whole);
}

void DeviceOperation::abandon() {
  done_ = started_ ? 1 - activity_share() : 0;
  ActivityOperation::abandon();
}

// As for a link: the radio's power in proportion to the rate, so a byte costs W / (byte/s).
void DeviceOperation::count_wifi_energy() {
  if (!is_transfer()) return;
  Platform::Host& host = platform_->hosts_[host_];
  host.wifi_joules += host.wifi_joules_byte * std::ceil(amount_) * done_;
}

std::string DeviceOperation::describe() const {
  const char* what = kind() == EventKind::kDownload ? "a download to '"
                     : kind() == EventKind::kUpload ? "an upload from '"
                                                    : "work on '";
  return what + platform_->hosts_[host_].name + "'";
}

std::string DeviceOperation::failure() const { return describe() + " broke off"; }

}  // namespace fedclock::platform
