#include <fmt/format.h>

#include <map>
#include <memory>

#include "models/common/error.h"
#include "sim/results/exports.h"
#include "sim/results/files.h"
#include "sim/results/paje.h"
#include "tools/fedclock/commands.h"

namespace fedclock::tools {

namespace {

namespace fs = std::filesystem;

struct ExportOptions {
  std::string folder, format, out;
};

// Files by their names in the folder of the export.
using Files = std::map<std::string, std::string>;

Files tables(const v1::Result& result) {
  return {{"rounds.csv", results::with_units(results::rounds_csv(result))},
          {"clients.csv", results::with_units(results::clients_csv(result))},
          {"events.csv", results::with_units(results::events_csv(result))}};
}

Files files_of(const std::string& format, const v1::Result& result) {
  if (format == "csv") return tables(result);
  if (format == "jsonl") return {{"events.jsonl", results::json_lines(result)}};
  if (format == "trace") return {{"trace.json", results::chrome_trace(result)}};
  ensure(format == "tensorboard", "a format that is not known");
  // TensorBoard looks for this in a file's name.
  return {{"events.out.tfevents.fedclock", results::tensorboard_events(result)}};
}

// The adapter is in PEFT's layout already.
void copy_adapter(const fs::path& folder, const fs::path& out) {
  const fs::path adapter = folder / "final_adapter";
  if (!fs::exists(adapter)) {
    throw InputError(
        fmt::format("{}: there is no adapter: the run was for the timing only, or was "
                    "written over since: run it again",
                    adapter.string()));
  }
  for (const char* earlier :
       {"adapter_model.safetensors", "adapter_config.json", "experts.safetensors"}) {
    fs::remove(out / earlier);
  }
  fs::copy(adapter, out, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
}

void export_result(const ExportOptions& options) {
  const v1::Result result = results::read_result(options.folder);
  const fs::path out = options.out.empty() ? fs::path(options.folder) / "export" / options.format
                                           : fs::path(options.out);
  if (fs::exists(out / "result.pb")) {
    throw InputError(
        fmt::format("{}: holds a result, whose files an export would write over: name another "
                    "folder with --out",
                    out.string()));
  }
  std::error_code error;
  fs::create_directories(out, error);
  if (error) {
    throw InputError(fmt::format("{}: cannot be made ({}): name another folder with --out",
                                 out.string(), error.message()));
  }
  if (options.format == "peft") {
    copy_adapter(options.folder, out);
  } else if (options.format == "paje") {
    results::write_file(out / "run.paje", "");  // says why, where it cannot be written
    platform::write_paje(results::paje_timeline(result), out / "run.paje");
  } else {
    for (const auto& [name, content] : files_of(options.format, result)) {
      results::write_file(out / name, content);
    }
  }
  fmt::print("written to {}\n", out.string());
}

}  // namespace

void add_export(CLI::App& program) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command =
      program.add_subcommand("export", "Write a finished run for other programs to read");
  command->add_option("DIR", options->folder, "Folder of a finished run")->required();
  command
      ->add_option(
          "--format", options->format,
          "csv: tables with units; jsonl: events, a JSON object a line; paje: a timeline, by "
          "SimGrid; "
          "peft: the adapter; tensorboard: an event file; trace: Chrome's and Perfetto's timeline")
      ->required()
      ->check(CLI::IsMember({"csv", "jsonl", "paje", "peft", "tensorboard", "trace"}));
  command->add_option("-o,--out", options->out, "Folder [default: DIR/export/FORMAT]");
  command->callback([options] { export_result(*options); });
}

}  // namespace fedclock::tools
