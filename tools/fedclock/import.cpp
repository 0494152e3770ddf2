#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "models/common/error.h"
#include "sim/platform/fedscale.h"
#include "sim/platform/pickle.h"
#include "sim/results/files.h"
#include "tools/fedclock/commands.h"

namespace fedclock::tools {

namespace {

namespace fs = std::filesystem;

struct ImportOptions {
  std::string file, out;
};

std::string bytes_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || fs::is_directory(file)) {
    throw InputError(fmt::format(
        "{}: no file that can be read: client_behave_trace and client_device_capacity are in "
        "FedScale's repository, folder benchmark/dataset/data/device_info",
        file));
  }
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) throw InputError(file + ": reading failed: check the file");
  return bytes;
}

std::string availability_text(const platform::FedScaleTable& table, const std::string& out) {
  std::string text = fmt::format("{} clients, {} intervals", table.clients, table.intervals);
  if (table.never_on > 0) text += fmt::format(", {} clients never there", table.never_on);
  if (table.empty > 0) text += fmt::format(", {} empty intervals left out", table.empty);
  if (!table.same_period) text += ", periods differ: the longest is taken";
  return text +
         fmt::format("; in a scenario: availability {{ trace {{ file: \"{}\" period_s: {} }} }}",
                     out, table.period_s);
}

void import_fedscale(const ImportOptions& options) {
  const platform::FedScaleTable table = platform::fedscale_csv(
      platform::read_pickle(bytes_of(options.file), options.file), options.file);
  const fs::path out = options.out;
  std::error_code none;
  if (fs::equivalent(options.file, out, none)) {
    throw InputError(fmt::format("--out {}: is the file that is read; name another", options.out));
  }
  if (out.has_parent_path()) fs::create_directories(out.parent_path());
  results::write_file(out, table.csv);
  fmt::print("{}: {}\n", options.out,
             table.kind == "availability"
                 ? availability_text(table, options.out)
                 : fmt::format("{} clients; computation in ms a sample, communication in kbit/s",
                               table.clients));
}

}  // namespace

void add_import_fedscale(CLI::App& program) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command = program.add_subcommand(
      "import-fedscale",
      "Write FedScale's pickled device traces as CSV; nothing of the pickle is run");
  command
      ->add_option("FILE", options->file,
                   "FedScale's client_behave_trace (when each client is there) or "
                   "client_device_capacity (how fast it is)")
      ->required();
  command->add_option("-o,--out", options->out, "The CSV file, such as availability.csv")
      ->required();
  command->callback([options] { import_fedscale(*options); });
}

}  // namespace fedclock::tools
