#include <fmt/format.h>
#include <simgrid/s4u.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "sim/platform/platform.h"

namespace fedclock::platform {

namespace s4u = simgrid::s4u;
using kernel::EventKind;

namespace {

// Byte/s that no flow reaches.
constexpr double kUnbounded = 1e15;

}  // namespace

DeviceOperation::DeviceOperation(Platform& platform, std::size_t host, double flops,
                                 std::vector<double> by_mode)
    : ActivityOperation(
          platform.simulation_,
          host == platform.server() ? kernel::kServer : static_cast<kernel::DeviceId>(host),
          EventKind::kCompute),
      platform_(&platform),
      host_(host),
      other_(host),
      amount_(flops),
      by_mode_(std::move(by_mode)) {}

DeviceOperation::DeviceOperation(Platform& platform, std::size_t host, EventKind kind, double bytes,
                                 std::size_t other)
    : ActivityOperation(platform.simulation_, static_cast<kernel::DeviceId>(host), kind),
      platform_(&platform),
      host_(host),
      other_(other),
      latency_s_(platform.latency_s(host, other, kind)),
      amount_(bytes) {}

void DeviceOperation::begin() {
  start_s_ = agenda().now_s() + latency_s_;
  on_date();
  begun_ = true;
}

// The latency is over, or something that the operation depends on has changed, or it is done.
void DeviceOperation::on_date() {
  if (started_ && agenda().now_s() >= end_s_) {
    share()->leave(*this, agenda().now_s());
    agenda().disarm(*this);
    return Operation::on_date();
  }
  if (!check_presence()) return;
  if (!started_) {
    if (agenda().now_s() >= start_s_) start();
  } else if (is_transfer()) {
    adapt_links();
  } else {
    adapt_mode();
  }
  if (waiting()) wait_on();
}

void DeviceOperation::start() {
  // The mode before: it says how much work there is. The bandwidth after: see start_activity().
  if (!is_transfer()) adapt_mode();
  started_ = true;
  if (FairShare* closed = closed_form()) {
    closed->join(*this, whole(), agenda().now_s());
  } else {
    start_activity(1);
  }
  if (is_transfer()) adapt_links();
}

// Until the next date at which something happens to it; SimGrid tells of an end by itself.
void DeviceOperation::wait_on() {
  agenda().disarm(*this);
  const double next_s = std::min(started_ ? end_s_ : start_s_, next_change_s_);
  if (std::isfinite(next_s)) arm(next_s);
}

void DeviceOperation::on_share(double end_s) {
  end_s_ = end_s;
  wait_on();
}

FairShare* DeviceOperation::closed_form() const {
  Platform::Host& host = platform_->hosts_[host_];
  switch (kind()) {
    case EventKind::kDownload: return platform_->closed_down_ ? &host.down : nullptr;
    case EventKind::kUpload: return platform_->closed_up_ ? &host.up : nullptr;
    default: return platform_->closed_work_ ? &host.processor : nullptr;
  }
}

bool DeviceOperation::check_presence() {
  const Platform::Broken broken = platform_->broken(host_, other_, agenda().now_s());
  next_change_s_ = broken.state.until_s;
  if (broken.what == nullptr) return true;
  fail(fmt::format("'{}' {} {}", *broken.name, begun_ ? "went" : "is", broken.what));
  return false;
}

void DeviceOperation::adapt_links() {
  adapt_link(host_);
  adapt_link(other_);
}

// The bandwidth of one end's own link, as it is from this date on.
void DeviceOperation::adapt_link(std::size_t host) {
  const Platform::Host& end = platform_->hosts_[host];
  if (!end.bandwidth) return;
  const Rates rates = end.bandwidth->at(agenda().now_s());
  next_change_s_ = std::min(next_change_s_, rates.until_s);
  const double bytes_s = sends(host) ? rates.up_bytes_s : rates.down_bytes_s;
  // In closed form the other end is the server, which has no such link.
  if (FairShare* closed = closed_form()) {
    closed->set_capacity(bytes_s, agenda().now_s());
  } else {
    link_of(host)->set_bandwidth(bytes_s);
  }
}

// The device's power mode, likewise. The share of the work that is left goes on in the new one.
void DeviceOperation::adapt_mode() {
  Platform::Host& host = platform_->hosts_[host_];
  if (!host.mode_changes) return;
  const double now_s = agenda().now_s();
  const ModeChanges::Mode mode = host.mode_changes->at(now_s, platform_->round_, host_);
  next_change_s_ = std::min(next_change_s_, mode.until_s);
  if (started_ && mode.number == mode_) return;
  const double left = started_ ? activity_share() : 1;
  const bool other_amount = started_ && !by_mode_.empty();
  FairShare* closed = closed_form();
  if (other_amount && closed == nullptr) drop_activity();
  mode_ = mode.number;
  if (closed != nullptr) {
    closed->set_capacity(host.mode_speeds_flops[mode_], now_s);
    if (other_amount) closed->set_left(*this, whole() * left, now_s);
  } else {
    host.built.host->set_pstate(mode_);
    if (other_amount) start_activity(left);
  }
}

bool DeviceOperation::sends(std::size_t host) const {
  return (host == host_) == (kind() == EventKind::kUpload);
}

s4u::Link* DeviceOperation::link_of(std::size_t host) const {
  const Built::Host& end = platform_->hosts_[host].built;
  return sends(host) ? end.up : end.down;
}

// Bytes, or flops in the present mode.
double DeviceOperation::whole() const {
  if (is_transfer()) return std::ceil(amount_);
  return by_mode_.empty() ? amount_ : by_mode_[mode_];
}

void DeviceOperation::start_activity(double share) {
  s4u::Host& host = *platform_->hosts_[host_].built.host;
  s4u::Host& other = *platform_->hosts_[other_].built.host;
  begun_share_ = share;
  end_s_ = std::numeric_limits<double>::infinity();
  // SimGrid bounds a flow by the bandwidth that its links have when it starts, for good: a link
  // whose bandwidth changes gets the present one after that.
  if (is_transfer()) {
    for (const std::size_t end : {host_, other_}) {
      if (platform_->hosts_[end].bandwidth) link_of(end)->set_bandwidth(kUnbounded);
    }
  }
  switch (kind()) {
    case EventKind::kDownload:
      start_transfer(other, host, static_cast<std::uint64_t>(whole()));
      break;
    case EventKind::kUpload:
      start_transfer(host, other, static_cast<std::uint64_t>(whole()));
      break;
    default: start_execution(host, whole() * share);
  }
}

// Share of the whole that is still to do.
double DeviceOperation::activity_share() const {
  if (share() != nullptr) return share()->left(*this, agenda().now_s()) / whole();
  return std::min(begun_share_, remaining() / whole());
}

void DeviceOperation::abandon() {
  done_ = started_ ? 1 - activity_share() : 0;
  if (share() != nullptr) share()->leave(*this, agenda().now_s());
  ActivityOperation::abandon();
}

// As for a link: the radio's power in proportion to the rate, so a byte costs W / (byte/s).
void DeviceOperation::count_wifi_energy() {
  if (!is_transfer()) return;
  for (const std::size_t end : {host_, other_}) {
    Platform::Host& host = platform_->hosts_[end];
    host.wifi_joules += host.wifi_joules_byte * whole() * done_;
  }
}

std::string DeviceOperation::describe() const {
  const bool upload = kind() == EventKind::kUpload;
  const char* what = !is_transfer() ? "work on '" : upload ? "an upload from '" : "a download to '";
  const std::string text = what + platform_->hosts_[host_].name + "'";
  if (!is_transfer() || other_ == platform_->server()) return text;
  return text + (upload ? " to '" : " from '") + platform_->hosts_[other_].name + "'";
}

std::string DeviceOperation::failure() const { return describe() + " broke off"; }

}  // namespace fedclock::platform
