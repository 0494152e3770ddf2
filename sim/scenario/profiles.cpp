#include "sim/scenario/profiles.h"

#include <fmt/format.h>

#include <set>
#include <string>
#include <vector>

#include "sim/scenario/bind.h"
#include "sim/scenario/suggest.h"
#include "sim/scenario/syntax.h"

namespace fedclock::scenario {
namespace {

namespace fs = std::filesystem;

// `folder` and every folder above it. A relative folder is followed to the root of the disk, but
// stays relative as long as it can, so that messages show short names.
std::vector<fs::path> upwards(const fs::path& folder) {
  std::vector<fs::path> folders;
  fs::path at = folder.empty() ? fs::path(".") : folder.lexically_normal();
  while (at.has_relative_path() && at != "." && *--at.end() != "..") {
    folders.push_back(at);
    at = at.parent_path();
  }
  fs::path above = fs::absolute(folder.empty() ? fs::path(".") : folder).lexically_normal();
  for (std::size_t i = 0; i < folders.size(); ++i) above = above.parent_path();
  for (; above != above.parent_path(); above = above.parent_path()) folders.push_back(above);
  folders.push_back(above);
  return folders;
}

class Resolver {
 public:
  Resolver(const fs::path& scenario_folder, const fs::path& library, Locations& locations,
           Problems& problems)
      : scenario_folder_(scenario_folder),
        library_(library),
        locations_(locations),
        problems_(problems) {}

  // Holder is a DeviceGroup, a Gateway or a Server.
  template <typename Holder>
  void resolve(Holder& holder, const std::string& path) {
    if (!holder.has_profile()) return;
    const std::string device_path = join_path(path, "device");
    v1::Device device;
    Locations lower;
    if (!read("devices", holder.profile(), join_path(path, "profile"), device_path, device,
              lower)) {
      problems_.excuse(device_path);
      return;
    }
    merge_over(holder.device(), device);
    *holder.mutable_device() = device;
    holder.clear_profile();
    locations_.add_below(device_path, lower);
    locations_.erase_under(join_path(path, "profile"));
  }

  void resolve(v1::AccessLink& link, const std::string& path) {
    if (!link.has_profile()) return;
    v1::AccessLink base;
    Locations lower;
    const std::string profile_path = join_path(path, "profile");
    if (!read("networks", link.profile(), profile_path, path, base, lower)) {
      link.clear_profile();
      problems_.excuse(path);
      return;
    }
    if (base.has_profile()) {
      problems_.add_at(lower.find(profile_path), profile_path, in_quotes(base.profile()),
                       "stands in a profile itself; write its fields out there");
    }
    link.clear_profile();
    // Another kind of bandwidth replaces the profile's.
    if (link.has_drawn() || link.has_trace()) {
      base.clear_up_mbit_s();
      base.clear_down_mbit_s();
    }
    if (link.has_trace() || link.has_up_mbit_s() || link.has_down_mbit_s()) base.clear_drawn();
    if (link.has_drawn() || link.has_up_mbit_s() || link.has_down_mbit_s()) base.clear_trace();
    merge_over(link, base);
    link = base;
    locations_.erase_under(profile_path);
    locations_.add_below(path, lower);
  }

 private:
  bool read(const char* kind, const std::string& profile, const std::string& path,
            const std::string& into, google::protobuf::Message& message, Locations& lower) {
    const std::string file = find(kind, profile, path);
    if (file.empty()) return false;
    const auto read = read_scenario_file(file, locations_.find(path), path, problems_);
    if (!read) return false;
    lower.set(into, {file, 0, 0});
    Binder(read->source, lower, problems_).merge(read->root, into, message);
    return true;
  }

  // The profile's file; empty, with a problem, where there is none.
  std::string find(const char* kind, const std::string& profile, const std::string& path) {
    const fs::path folder = folder_of(path, locations_, scenario_folder_);
    if (profile.ends_with(".textproto")) {
      const fs::path file = (folder / profile).lexically_normal();
      std::error_code ignored;
      if (fs::is_regular_file(file, ignored)) return file.string();
      problems_.add_at(locations_.find(path), path, in_quotes(profile),
                       fmt::format("there is no file {}", file.string()));
      return {};
    }
    std::vector<fs::path> searched = upwards(folder);
    for (const fs::path& more : upwards(scenario_folder_)) searched.push_back(more);
    if (!library_.empty()) searched.push_back(library_);
    std::set<std::string> known;
    for (const fs::path& parent : searched) {
      const fs::path profiles = (parent / kind).lexically_normal();
      std::error_code ignored;
      const fs::path file = profiles / (profile + ".textproto");
      if (!profile.empty() && fs::is_regular_file(file, ignored)) return file.string();
      for (const fs::directory_entry& entry : fs::directory_iterator(profiles, ignored)) {
        if (entry.path().extension() == ".textproto") known.insert(entry.path().stem().string());
      }
    }
    problems_.add_at(
        locations_.find(path), path, in_quotes(profile),
        fmt::format("there is no {}/{}.textproto here, in a folder above or in "
                    "the library of {}; {}",
                    kind, profile, kind, suggest_name(profile, {known.begin(), known.end()})));
    return {};
  }

  fs::path scenario_folder_, library_;
  Locations& locations_;
  Problems& problems_;
};

}  // namespace

fs::path folder_of(const std::string& path, const Locations& locations,
                   const fs::path& scenario_folder) {
  const Location where = locations.find(path);
  return where.line == 0 ? scenario_folder : fs::path(where.file).parent_path();
}

v1::Device read_profile(const std::string& profile, const fs::path& folder,
                        const fs::path& library) {
  Locations locations;
  Problems problems(locations);
  v1::DeviceGroup group;
  group.set_profile(profile);
  Resolver(folder, library, locations, problems).resolve(group, "");
  problems.throw_if_any();
  return group.device();
}

void resolve_profiles(const fs::path& scenario_folder, const fs::path& library,
                      v1::Scenario& scenario, Locations& locations, Problems& problems) {
  if (!scenario.has_platform()) return;
  Resolver resolver(scenario_folder, library, locations, problems);
  v1::Platform& platform = *scenario.mutable_platform();
  for (int i = 0; i < platform.devices_size(); ++i) {
    const std::string path = item_path("platform.devices", i);
    v1::DeviceGroup& group = *platform.mutable_devices(i);
    resolver.resolve(group, path);
    if (!group.has_network()) continue;
    const std::string network_path = join_path(path, "network");
    v1::AccessLink& network = *group.mutable_network();
    resolver.resolve(network, network_path);
    if (network.has_gateway()) {
      resolver.resolve(*network.mutable_gateway(), join_path(network_path, "gateway"));
    }
  }
  if (platform.has_server()) resolver.resolve(*platform.mutable_server(), "platform.server");
}

}  // namespace fedclock::scenario
