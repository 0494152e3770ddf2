// A run's result in the formats of other programs: pure functions of the Result message, so that
// two runs of one scenario export the same bytes. All dates are simulated seconds since the start
// of the run; what was not measured is left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "sim/results/result.pb.h"

namespace fedclock::results {

// The bytes of a TensorBoard event file (events.out.tfevents.*): records of
//   uint64 length | uint32 masked CRC of it | data | uint32 masked CRC of the data
// little endian, CRC-32C (Castagnoli), masked(c) = rotate_right(c, 15) + 0xa282ead8; from
// tensorflow/core/lib/io/record_writer and hash/crc32c.h. The data is an Event
// (sim/results/tensorboard.proto); the first says "brain.Event:2", then comes one for each round:
// wall_time is its end (TensorBoard's RELATIVE axis shows simulated time), step its number.
// Scalars:
//   accuracy, client_accuracy  shares; loss, train_loss  nats; each where it was measured
//   round_s, dropped           seconds, and parts of clients that were dropped; not of round 0
//   traffic/bytes_up, traffic/bytes_down, joules  sums so far; joules where energy is counted
// TensorBoard's scalars are single precision: for exact sums see rounds.csv.
std::string tensorboard_events(const v1::Result& result);

// For ui.perfetto.dev and chrome://tracing: a JSON object of the Trace Event Format (Google,
// "Trace Event Format", JSON Object Format). ts and dur are simulated microseconds with three
// decimals, the nanoseconds that viewers count in, so that a slice's end is exact.
//   process   the server, the gateways, each device class by its profile's name
//   thread    a client, the server, a gateway; another one beside it where its work overlaps, as
//             that of a server that merges for several groups; none for who did nothing
//   slices    (ph X) "round R" for each part of a client, R being the round in which it began, and
//             in it the phases; other work by itself: merges, groups' transfers, training on the
//             server. args: round, bytes, end, and of a client's part whether it is critical
//             (sim/results/why.h: nobody merged in that round ended later)
//   counters  (ph C) accuracy where it is a number, and bytes so far, at each round's end
// Names of processes and threads come first, then everything in the order of ts, a part before its
// phases. otherData says which run it is.
std::string chrome_trace(const v1::Result& result);

// JSON Lines (jsonlines.org), an object a line, for jq, DuckDB and pandas.read_json(lines=True):
//   {"type":"run",...}     names, digests and notes
//   {"type":"client",...}  each client's device and rows
// then by date, that of the end; of equal dates in this order:
//   {"type":"phase","round":..,"client":..,"phase":..,"start_s":..,"end_s":..,"bytes":..,"end":..}
//   {"type":"part","round":..,"client":..,...}  a client's part, with the round it was merged in
//   {"type":"round","round":..,...}             a round without its clients
// and last
//   {"type":"end","end_s":..,"stop_reason":..}
// Fields are called as in result.proto, and are left out where they are absent there; null is a
// number that is not finite. A phase's client is -1 for the server, -2, -3, ... for gateways, and
// its round is that in which the part began.
std::string json_lines(const v1::Result& result);
// The line of one round.
std::string json_line_of(const v1::Round& round);

// A table of sim/results/files.h whose header says units: "download_s [s]", "bytes_up [B]",
// "train_j [J]", "accuracy [1]", "loss [nat]", "round [1]"; columns of text stay as they are.
// ProgrammerError where a column has no known unit.
std::string with_units(const std::string& csv);

// As events.csv calls them: "group_download"; "cancelled".
std::string phase_name(v1::Event::Phase phase);
std::string end_name(v1::Event::End end);
// Whose events they are, by the number that they have in result.proto: "client 3", "server",
// "gateway 0"; "server (2)" where work of one owner overlaps and this is its second lane.
std::string owner_name(int32_t owner, size_t lane = 0);

}  // namespace fedclock::results
