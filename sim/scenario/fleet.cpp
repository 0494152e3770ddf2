#include "sim/scenario/fleet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "sim/scenario/check.h"

namespace fedclock::scenario {

namespace {

bool is_weighted(const v1::DeviceGroup& group) { return group.has_weight(); }

// False, with problems, where counts cannot be dealt.
bool check_weights(const v1::Platform& platform, const Fields& fields) {
  const auto weighted =
      std::count_if(platform.devices().begin(), platform.devices().end(), is_weighted);
  if (weighted == 0) {
    if (!platform.has_total()) return false;
    fields.problem("total",
                   "is dealt over groups by their weights, and no group has one; write a "
                   "`weight` in the groups, or remove `total`");
    return false;
  }
  bool good = fields.require("total", "groups have weights: write how many devices there are") &&
              fields.within("total", 1, 1e8);
  for (int i = 0; i < platform.devices_size(); ++i) {
    const Fields group = fields.item("devices", i);
    if (!is_weighted(platform.devices(i))) {
      group.problem("weight",
                    "is missing, but other groups have one; give each group a weight, or "
                    "each a count");
      good = false;
    } else if (platform.devices(i).has_count()) {
      group.problem("count", "stands beside a weight, which says how many there are; remove one");
      good = false;
    } else {
      good = group.above("weight", 0, 1e12) && std::isfinite(platform.devices(i).weight()) && good;
    }
  }
  return good;
}

}  // namespace

void deal_devices(v1::Platform& platform, Problems& problems) {
  if (!check_weights(platform, Fields(platform, "platform", problems))) return;
  double sum = 0;
  for (const v1::DeviceGroup& group : platform.devices()) sum += group.weight();
  const int32_t total = platform.total();
  int32_t dealt = 0;
  std::vector<std::pair<double, int>> remainders;  // negative, so that the largest sorts first
  for (int i = 0; i < platform.devices_size(); ++i) {
    v1::DeviceGroup& group = *platform.mutable_devices(i);
    const double share = group.weight() / sum * total;
    group.set_count(static_cast<int32_t>(std::floor(share)));
    remainders.emplace_back(group.count() - share, i);
    dealt += group.count();
  }
  std::sort(remainders.begin(), remainders.end());
  for (int next = 0; dealt < total; ++next, ++dealt) {
    v1::DeviceGroup& group = *platform.mutable_devices(remainders.at(next).second);
    group.set_count(group.count() + 1);
  }
  for (int i = platform.devices_size() - 1; i >= 0; --i) {
    platform.mutable_devices(i)->clear_weight();
    if (platform.devices(i).count() > 0) continue;
    problems.add(item_path("platform.devices", i) + ".weight", "",
                 fmt::format("is so small that of {} devices none is left for this group; remove "
                             "it, or take more devices",
                             total));
  }
  platform.clear_total();
}

Gateways gateways_of(const v1::Platform& platform) {
  Gateways gateways;
  struct Last {
    int32_t place = 0, devices = 0, number = 0;
  };
  std::map<std::string, Last> last;
  for (const v1::DeviceGroup& group : platform.devices()) {
    const v1::Gateway& gateway = group.network().gateway();
    for (int32_t i = 0; i < group.count(); ++i) {
      if (!group.network().has_gateway()) {
        gateways.of_client.push_back(-1);
        continue;
      }
      const bool first = !last.contains(gateway.name());
      Last& at = last[gateway.name()];
      const bool full = gateway.devices_each() > 0 && at.devices == gateway.devices_each();
      if (first || full) {
        at.number = first ? 0 : at.number + 1;
        at.devices = 0;
        at.place = static_cast<int32_t>(gateways.all.size());
        gateways.all.push_back({gateway.devices_each() > 0
                                    ? fmt::format("{}-{}", gateway.name(), at.number)
                                    : gateway.name(),
                                &gateway});
      }
      ++at.devices;
      gateways.of_client.push_back(at.place);
    }
  }
  return gateways;
}

}  // namespace fedclock::scenario
