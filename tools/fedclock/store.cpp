#include "models/learning/store.h"

#include <fmt/format.h>

#include <memory>

#include "models/common/error.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/progress.h"
#include "tools/fedclock/store_options.h"

namespace fedclock::tools {

namespace {

std::unique_ptr<learning::Store> existing_store(const StoreChoice& choice) {
  const std::filesystem::path path = store_path(choice);
  if (!std::filesystem::exists(path)) {
    throw InputError(fmt::format("{}: there is no store; `fedclock run` makes one",
                                 path.empty() ? "--store" : path.string()));
  }
  const auto problem = std::make_shared<std::string>();
  auto store =
      learning::Store::open(path, {.warn = [=](const std::string& text) { *problem = text; }});
  if (!store) throw InputError(*problem);
  return store;
}

void print_stats(learning::Store& store) {
  const learning::Store::Stats stats = store.stats();
  fmt::print("{:<18} {}\n", "store", store.path().string());
  fmt::print("{:<18} {}\n", "jobs known", stats.numbers);
  fmt::print("{:<18} {}, {}\n", "tensors kept", stats.tensors,
             bytes_text(static_cast<double>(stats.tensor_bytes)));
  fmt::print("{:<18} {}\n", "file", bytes_text(static_cast<double>(stats.file_bytes)));
}

void verify(learning::Store& store, bool remove) {
  const learning::Store::Verification found = store.verify(remove);
  fmt::print("{:<18} {}\n", "entries checked", found.checked);
  fmt::print("{:<18} {}{}\n", "damaged", found.damaged,
             found.damaged > 0 && remove ? ", removed" : "");
  fmt::print("{:<18} {}\n", "file", found.file);
  if (found.damaged == 0 && found.file == "ok") return;
  throw InputError(
      "the store is damaged; runs compute again what is, so results stay right. To be rid of it, "
      "`fedclock store verify --remove`, or delete the file where that is not enough");
}

}  // namespace

void add_store(CLI::App& program) {
  auto choice = std::make_shared<StoreChoice>();
  CLI::App* command = program.add_subcommand("store", "Look after the store of what was learnt");
  command->require_subcommand(1);
  CLI::App* stats = command->add_subcommand("stats", "Say what is in it");
  stats->callback([choice] { print_stats(*existing_store(*choice)); });
  auto remove = std::make_shared<bool>(false);
  CLI::App* check =
      command->add_subcommand("verify", "Read all of it; exit code 2 where something is damaged");
  check->add_flag("--remove", *remove, "Delete damaged entries");
  check->callback([choice, remove] { verify(*existing_store(*choice), *remove); });
  CLI::App* prune = command->add_subcommand(
      "prune", "Delete the tensors unused for longest, and give the space back to the disk");
  auto limit = std::make_shared<std::string>("0");
  prune->add_option("--limit", *limit, "Tensors to keep, such as 500MB [default: 0, none]");
  prune->callback([choice, limit] {
    const auto store = existing_store(*choice);
    store->prune(parse_bytes("--limit", *limit));
    print_stats(*store);
  });
  for (CLI::App* one : {stats, check, prune}) add_store_file_option(*one, *choice);
}

}  // namespace fedclock::tools
