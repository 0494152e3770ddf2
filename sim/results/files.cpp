#include "sim/results/files.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <utility>
#include <vector>

#include "models/common/error.h"

namespace fedclock::results {

namespace fs = std::filesystem;

void write_file(const fs::path& path, const std::string& content) {
  const fs::path unfinished = path.string() + ".part";
  std::ofstream out(unfinished, std::ios::binary);
  out << content;
  out.close();
  std::error_code error;
  if (out) fs::rename(unfinished, path, error);
  if (!out || error) {
    throw InputError(
        fmt::format("{}: cannot be written{}: check the folder's rights and the space "
                    "left on the disk, or have it written elsewhere",
                    path.string(), error ? " (" + error.message() + ")" : ""));
  }
}

namespace {

// Whether both know it, and not the same.
bool differ(const std::string& a, const std::string& b) {
  return !a.empty() && !b.empty() && a != b;
}

// Nothing where it cannot be parsed or holds no round, which every run has.
std::optional<v1::Result> parse_result(std::istream& in) {
  v1::Result result;
  if (!result.ParseFromIstream(&in) || result.rounds().empty()) return std::nullopt;
  return result;
}

}  // namespace

std::string difference(const v1::Result& there, const v1::Result& planned) {
  std::vector<std::string> words;
  if (there.scenario() != planned.scenario()) {
    words.push_back(fmt::format("of another scenario ({})", there.scenario()));
  } else if (there.scenario_digest() != planned.scenario_digest()) {
    words.push_back("of other settings of the same scenario");
  }
  if (there.learned() != planned.learned()) {
    words.push_back(there.learned() ? "of a run that learnt" : "of a timing-only run");
  }
  if (differ(there.data_digest(), planned.data_digest())) words.push_back("on other data");
  if (differ(there.base_digest(), planned.base_digest()) ||
      differ(there.learning_model(), planned.learning_model())) {
    words.push_back("on another base model");
  }
  if (differ(there.numerics(), planned.numerics())) {
    words.push_back(fmt::format("with other kernels or libraries ({})", there.numerics()));
  }
  if (differ(there.version(), planned.version())) {
    words.push_back(fmt::format("by version {} of fedclock", there.version()));
  }
  return fmt::format("{}", fmt::join(words, ", "));
}

void prepare_folder(const fs::path& folder, const v1::Result& planned, bool overwrite) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || access(folder.c_str(), W_OK | X_OK) != 0) {
    throw InputError(fmt::format(
        "{}: cannot be written to{}: choose another folder with --out, or change its rights",
        folder.string(), error ? " (" + error.message() + ")" : ""));
  }
  if (overwrite) {
    fs::remove_all(folder / "export", error);  // of the run that is written over
    // A run that only times writes none: what is there would pass for its adapter.
    if (!planned.learned()) fs::remove_all(folder / "final_adapter", error);
    return;
  }
  const fs::path path = folder / "result.pb";
  if (!fs::exists(path, error)) return;
  std::ifstream in(path, std::ios::binary);
  const std::optional<v1::Result> there = parse_result(in);
  if (!there) {
    throw InputError(path.string() +
                     ": is no result of fedclock, or is damaged: remove it, choose another folder "
                     "with --out, or write over it with --overwrite");
  }
  const std::string other = difference(*there, planned);
  if (other.empty()) return;
  throw InputError(
      fmt::format("{}: holds the result {}: choose another folder with --out, or write "
                  "over it with --overwrite",
                  folder.string(), other));
}

std::string result_bytes(const v1::Result& result) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  {
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    ensure(result.SerializeToCodedStream(&out), "a result cannot be serialised");
  }
  return bytes;
}

Digest run_digest(const v1::Result& result) {
  return DigestBuilder().add(result_bytes(result)).finish();
}

void write_files(const fs::path& folder, const v1::Result& result,
                 const std::string& scenario_text) {
  write_file(folder / "scenario.textproto", scenario_text);
  write_file(folder / "rounds.csv", rounds_csv(result));
  write_file(folder / "clients.csv", clients_csv(result));
  write_file(folder / "events.csv", events_csv(result));
  write_file(folder / "result.pb", result_bytes(result));
}

v1::Result read_result(const fs::path& folder) {
  const fs::path path = folder / "result.pb";
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw InputError(path.string() + ": cannot be read: give the --out folder of a finished run");
  }
  std::optional<v1::Result> result = parse_result(in);
  if (!result) {
    throw InputError(path.string() +
                     ": is no result of fedclock, or is empty or damaged: run the scenario again, "
                     "with --overwrite for the same folder");
  }
  return std::move(*result);
}

}  // namespace fedclock::results
