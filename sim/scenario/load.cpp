#include "sim/scenario/load.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "sim/scenario/bind.h"
#include "sim/scenario/fleet.h"
#include "sim/scenario/methods.h"
#include "sim/scenario/overrides.h"
#include "sim/scenario/profiles.h"
#include "sim/scenario/suggest.h"
#include "sim/scenario/syntax.h"
#include "sim/scenario/validate.h"

namespace fedclock::scenario {
namespace {

namespace fs = std::filesystem;

// Merges files, each over those that it extends.
class FileMerger {
 public:
  FileMerger(Loaded& loaded, Problems& problems) : loaded_(loaded), problems_(problems) {}

  // The first file, and more over it. False where a file is missing or breaks off; the problem is
  // in the list.
  bool merge_all(const fs::path& path, const std::vector<fs::path>& over) {
    bool whole = merge(path, {path.string(), 0, 0}, "");
    std::error_code ignored;
    first_ = fs::weakly_canonical(path, ignored);
    for (const fs::path& more : over) whole = merge(more, {more.string(), 0, 0}, "") && whole;
    return whole;
  }

 private:
  // The same of one file and those that it extends.
  bool merge(const fs::path& path, const Location& asked_by, const std::string& field) {
    std::error_code ignored;
    const fs::path real = fs::weakly_canonical(path, ignored);
    if (std::find(open_.begin(), open_.end(), real) != open_.end()) {
      problems_.add_at(asked_by, field, in_quotes(path.string()),
                       "this file extends the one that names it, in a circle; remove one of them");
      return false;
    }
    if (real == first_) {
      problems_.add_at(asked_by, field, in_quotes(path.string()),
                       "this file lies below already, and would undo what is merged over it; leave "
                       "it out here");
      return false;
    }
    std::optional<ReadFile> file = read_scenario_file(path.string(), asked_by, field, problems_);
    if (!file) return false;
    open_.push_back(real);
    const bool whole = merge_extended(path, *file);
    open_.pop_back();
    Binder(file->source, loaded_.locations, problems_).merge(file->root, "", loaded_.scenario);
    return whole;
  }

  // Takes `extends` out of the file's tree and merges the files named there.
  bool merge_extended(const fs::path& path, ReadFile& file) {
    Node extends{Node::Kind::kMessage, 0, 0, "", {}, {}};
    std::erase_if(file.root.fields, [&](Node::Field& field) {
      if (field.name != "extends") return false;
      extends.fields.push_back(std::move(field));
      return true;
    });
    v1::Scenario names;
    Locations places;
    const std::size_t before = problems_.size();
    Binder(file.source, places, problems_).merge(extends, "", names);
    bool whole = problems_.size() == before;
    for (int i = 0; i < names.extends_size(); ++i) {
      const std::string field = item_path("extends", i);
      const fs::path other = (path.parent_path() / names.extends(i)).lexically_normal();
      whole = merge(other, places.find(field), field) && whole;
    }
    return whole;
  }

  Loaded& loaded_;
  Problems& problems_;
  std::vector<fs::path> open_;  // the files being read, outermost first
  fs::path first_;              // over which others are merged; empty while it is read
};

// Makes a folder absolute, counted from the file that set it.
void make_absolute(std::string& folder, const std::string& path, const Loaded& loaded) {
  if (folder.empty() || fs::path(folder).is_absolute()) return;
  const fs::path from = folder_of(path, loaded.locations, loaded.folder);
  folder = fs::absolute(from / folder).lexically_normal().string();
}

void make_folders_absolute(Loaded& loaded) {
  for_each_folder(loaded.scenario, [&loaded](std::string& folder, const std::string& path) {
    make_absolute(folder, path, loaded);
  });
}

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

bool is_folder(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_STRING && !field.is_repeated() &&
         (field.name() == "folder" || field.full_name() == "fedclock.v1.SimGridPlatform.file");
}

void visit_folders(Message& message, const std::string& path, const FolderVisitor& visit) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string name = join_path(path, field->name());
    if (is_folder(*field)) {
      std::string folder = reflection.GetString(message, field);
      visit(folder, name);
      if (folder.empty()) {
        reflection.ClearField(&message, field);
      } else {
        reflection.SetString(&message, field, folder);
      }
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && field->is_repeated()) {
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        visit_folders(*reflection.MutableRepeatedMessage(&message, field, i), item_path(name, i),
                      visit);
      }
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      visit_folders(*reflection.MutableMessage(&message, field), name, visit);
    }
  }
}

// Those that reach into devices, or the others.
void apply_overrides(const LoadOptions& options, bool into_devices, Loaded& loaded,
                     Problems& problems) {
  for (std::size_t i = 0; i < options.overrides.size(); ++i) {
    const std::string& text = options.overrides[i];
    if (reaches_into_device(text) != into_devices) continue;
    const bool placed = i < options.override_places.size();
    apply_override(text, loaded.scenario, loaded.locations, problems,
                   placed ? options.override_places[i] : "");
  }
}

}  // namespace

void for_each_folder(v1::Scenario& scenario, const FolderVisitor& visit) {
  visit_folders(scenario, "", visit);
}

Loaded load_scenario(const fs::path& path, const LoadOptions& options, Problems& problems) {
  Loaded loaded;
  loaded.folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const Location file{path.string(), 0, 0};
  const bool whole = FileMerger(loaded, problems).merge_all(path, options.over);
  // Without the files below, or with `extends` misspelt, every field that they set would be missed.
  if (!whole || problems.covers("extends")) problems.throw_if_any();
  loaded.locations.set("", file);
  apply_overrides(options, false, loaded, problems);
  resolve_profiles(loaded.folder, options.library, loaded.scenario, loaded.locations, problems);
  apply_overrides(options, true, loaded, problems);
  make_folders_absolute(loaded);
  if (!loaded.scenario.has_name()) loaded.scenario.set_name(path.stem().string());
  problems.use(loaded.locations);
  if (loaded.scenario.has_platform()) {
    deal_devices(*loaded.scenario.mutable_platform(), problems);
  }
  return loaded;
}

Loaded load_scenario(const fs::path& path, const LoadOptions& options) {
  Problems problems;
  Loaded loaded = load_scenario(path, options, problems);
  problems.throw_if_any();
  return loaded;
}

Loaded load_and_validate(const fs::path& path, const LoadOptions& options) {
  Problems problems;
  Loaded loaded = load_scenario(path, options, problems);
  expand_method(loaded, problems);
  validate(loaded, problems);
  problems.throw_if_any();
  return loaded;
}

Digest scenario_digest(v1::Scenario scenario) {
  for_each_folder(scenario, [](std::string& folder, const std::string&) { folder.clear(); });
  return DigestBuilder().add(to_text(scenario)).finish();
}

std::string to_text(const google::protobuf::Message& message) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);
  printer.SetUseUtf8StringEscaping(true);
  std::string text;
  printer.PrintToString(message, &text);
  return text;
}

}  // namespace fedclock::scenario
