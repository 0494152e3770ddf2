#include "sim/scenario/load.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "sim/scenario/bind.h"
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

  // False where a file is missing or breaks off; the problem is in the list.
  bool merge(const fs::path& path, const Location& asked_by, const std::string& field) {
    std::error_code ignored;
    const fs::path real = fs::weakly_canonical(path, ignored);
    if (std::find(open_.begin(), open_.end(), real) != open_.end()) {
      problems_.add_at(asked_by, field, in_quotes(path.string()),
                       "this file extends the one that names it, in a circle; remove one of them");
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

 private:
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
};

// Makes a folder absolute, counted from the file that set it.
void make_absolute(std::string& folder, const std::string& path, const Loaded& loaded) {
  if (folder.empty() || fs::path(folder).is_absolute()) return;
  const fs::path from = folder_of(path, loaded.locations, loaded.folder);
  folder = fs::absolute(from / folder).lexically_normal().string();
}

void make_folders_absolute(Loaded& loaded) {
  v1::Scenario& scenario = loaded.scenario;
  if (scenario.model().has_folder()) {
    make_absolute(*scenario.mutable_model()->mutable_folder(), "model.folder", loaded);
  }
  if (scenario.task().files().has_folder()) {
    make_absolute(*scenario.mutable_task()->mutable_files()->mutable_folder(), "task.files.folder",
                  loaded);
  }
  if (scenario.model().pretrain().files().has_folder()) {
    v1::FileCorpus& corpus = *scenario.mutable_model()->mutable_pretrain()->mutable_files();
    make_absolute(*corpus.mutable_folder(), "model.pretrain.files.folder", loaded);
  }
}

}  // namespace

Loaded load_scenario(const fs::path& path, const LoadOptions& options, Problems& problems) {
  Loaded loaded;
  loaded.folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const Location file{path.string(), 0, 0};
  const bool whole = FileMerger(loaded, problems).merge(path, file, "");
  // Without the files below, or with `extends` misspelt, every field that they set would be missed.
  if (!whole || problems.covers("extends")) problems.throw_if_any();
  loaded.locations.set("", file);
  for (const std::string& text : options.overrides) {
    if (reaches_into_device(text)) continue;
    apply_override(text, loaded.scenario, loaded.locations, problems);
  }
  resolve_profiles(loaded.folder, options.library, loaded.scenario, loaded.locations, problems);
  for (const std::string& text : options.overrides) {
    if (!reaches_into_device(text)) continue;
    apply_override(text, loaded.scenario, loaded.locations, problems);
  }
  make_folders_absolute(loaded);
  if (!loaded.scenario.has_name()) loaded.scenario.set_name(path.stem().string());
  problems.use(loaded.locations);
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

std::string to_text(const google::protobuf::Message& message) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);
  printer.SetUseUtf8StringEscaping(true);
  std::string text;
  printer.PrintToString(message, &text);
  return text;
}

}  // namespace fedclock::scenario
