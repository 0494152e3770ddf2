// The files of a run's output folder:
//   result.pb            the Result message, byte-identical for the same scenario
//   rounds.csv           a line a round
//   clients.csv          a line for each client of each round
//   events.csv           a line for each phase of each client and of the server
//   scenario.textproto   the scenario as it was run, standing on its own
//   final_adapter/       the last global adapter in PEFT's layout (written by the learner)
#pragma once

#include <filesystem>
#include <string>

#include "models/common/digest.h"
#include "sim/results/result.pb.h"

namespace fedclock::results {

// Written beside and renamed, so that a reader never sees half a file. Throws InputError where it
// cannot be written.
void write_file(const std::filesystem::path& path, const std::string& content);

// Makes the folder. Throws InputError where it cannot be made or written to, or where it holds the
// result of another run: nothing of that is lost. `overwrite`: whatever it holds may be lost.
void prepare_folder(const std::filesystem::path& folder, const v1::Result& planned,
                    bool overwrite = false);

// What makes the result another one than that of the planned run, in words that follow "the
// result": "of other settings of the same scenario, of a timing-only run". Empty where nothing
// does; what one of them does not know yet does not count.
std::string difference(const v1::Result& there, const v1::Result& planned);

// `scenario_text` becomes scenario.textproto. Throws InputError where a file cannot be written.
void write_files(const std::filesystem::path& folder, const v1::Result& result,
                 const std::string& scenario_text);

// Throws InputError where there is no result.pb, it cannot be parsed, or it holds no round.
v1::Result read_result(const std::filesystem::path& folder);

// Name of the whole result: of the bytes of result.pb, which hold the adapter's digest.
Digest run_digest(const v1::Result& result);

// The bytes of result.pb.
std::string result_bytes(const v1::Result& result);

// A field as RFC 4180 writes it: in quotes where it holds what would end it.
std::string csv_field(const std::string& text);

// One line a round. Phases are means over the round's clients. Columns:
// round,simulated_s,accuracy,loss,train_loss,client_accuracy,bytes_up,bytes_down,
// download_s,train_s,upload_s,wait_s,merge_s,off_s,dropped,lost_s,lost_bytes_up,lost_bytes_down,
// joules,start_s,clients
// Sums: clients dropped, seconds and bytes that were for nothing, joules of all devices (empty
// where energy is not counted). Between a round and the one before, the server waits for clients.
std::string rounds_csv(const v1::Result& result);

// One line for each client of each round. Columns:
// round,client,device,depth,train_rows,train_loss,accuracy,bytes_up,bytes_down,
// download_s,train_s,upload_s,wait_s,end_s,critical,off_s,dropped,lost_s,lost_bytes_up,lost_bytes_down,
// download_j,train_j,upload_j,wait_j,rank,group,parts,staleness,experts
// critical: 1 for the client whose part ended last (sim/results/why.h).
std::string clients_csv(const v1::Result& result);

// One line for each phase, in the order in which they ended; the server's have no client. Columns:
// round,client,device,phase,start_s,end_s,bytes,end
std::string events_csv(const v1::Result& result);

}  // namespace fedclock::results
