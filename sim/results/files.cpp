#include "sim/results/files.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "models/common/error.h"

namespace fedclock::results {

namespace {

namespace fs = std::filesystem;

// Written beside and renamed, so that a reader never sees half a file.
void write_file(const fs::path& path, const std::string& content) {
  const fs::path unfinished = path.string() + ".part";
  std::ofstream out(unfinished, std::ios::binary);
  out << content;
  out.close();
  if (!out) throw InputError(path.string() + ": cannot be written: is the disk full?");
  fs::rename(unfinished, path);
}

}  // namespace

void prepare_folder(const fs::path& folder, const v1::Result& planned) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || access(folder.c_str(), W_OK) != 0) {
    throw InputError(folder.string() + ": cannot be written to: choose another folder with --out");
  }
  if (!fs::exists(folder / "result.pb")) return;
  const v1::Result there = read_result(folder);
  if (there.scenario_digest() == planned.scenario_digest() &&
      there.learned() == planned.learned()) {
    return;
  }
  throw InputError(fmt::format(
      "{}: holds the result of another scenario ({}): choose another folder with --out, or remove "
      "this one",
      folder.string(), there.scenario()));
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
  write_file(folder / "result.pb", result_bytes(result));
}

v1::Result read_result(const fs::path& folder) {
  const fs::path path = folder / "result.pb";
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw InputError(path.string() + ": cannot be read: give the --out folder of a finished run");
  }
  v1::Result result;
  if (!result.ParseFromIstream(&in)) {
    throw InputError(path.string() + ": is not a result of fedclock, or is damaged: run again");
  }
  return result;
}

}  // namespace fedclock::results
