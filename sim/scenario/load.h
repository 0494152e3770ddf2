// Scenario files: Protobuf's text format (.textproto) or its JSON mapping (.json), merged over the
// files that they extend, with overrides of the command line, device profiles written out, and
// the place of every field kept for messages.
//
// Order, later over earlier: files of `extends` in order (each with its own `extends`), the file
// itself, the overrides. A value overrides a value, a message merges field by field, another
// choice of a oneof replaces the choice, and a list replaces the whole list.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "models/common/digest.h"
#include "sim/scenario/location.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::scenario {

struct LoadOptions {
  // "path=value", as after --set, applied in order. The value is a number, a word (enums), true
  // or false, text with or without quotes, a list "[Q, V]", or a message "{rounds: 3}". A message
  // or list given so replaces the whole of the old one. Relative paths of files in a value count
  // from the scenario's folder, as if it stood in the scenario.
  std::vector<std::string> overrides;
  // Folder that holds devices/, searched for device profiles last. Empty: none.
  std::filesystem::path library;
  // Files merged over the scenario file, in order, before the overrides: as if one file extended
  // all of them.
  std::vector<std::filesystem::path> over = {};
  // What messages call each override, such as its place in a suite; where there is none, "--set
  // path=value".
  std::vector<std::string> override_places = {};
};

// A scenario that stands on its own: `extends` is merged in, profiles are written out, weights are
// counts, folders are absolute, the name is set. Loading its text again gives the same scenario.
struct Loaded {
  v1::Scenario scenario;
  Locations locations;
  std::filesystem::path folder;  // of the scenario file
};

// Reads a scenario. Throws InputError with all problems of the files' text at once; what the
// values mean is for validate() to check.
Loaded load_scenario(const std::filesystem::path& path, const LoadOptions& options = {});

// The same, but adds problems to the list and goes on, so that validate() can add its own. Throws
// InputError only where a file is missing or breaks off, or `extends` is wrong: then nothing can be
// said of the rest.
Loaded load_scenario(const std::filesystem::path& path, const LoadOptions& options,
                     Problems& problems);

// Reads a scenario, expands its method into the five answers and validates it, with the problems
// of all three in one InputError.
Loaded load_and_validate(const std::filesystem::path& path, const LoadOptions& options = {});

// Calls visit(value, path) for each field that says where something lies on this disk, and keeps
// what it makes of the value: an empty one is as if it had not been set. Results must not depend on
// these.
using FolderVisitor = std::function<void(std::string& value, const std::string& path)>;
void for_each_folder(v1::Scenario& scenario, const FolderVisitor& visit);

// Name of a scenario, the same in every checkout: of its text without the folders. What lies in
// them has digests of its own.
Digest scenario_digest(v1::Scenario scenario);

// A scenario, or a part of one, in text format, one field a line.
std::string to_text(const google::protobuf::Message& message);

}  // namespace fedclock::scenario
