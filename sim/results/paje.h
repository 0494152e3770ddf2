// A run as sim/platform/paje.h writes it: a host for the server, each gateway that did something
// and each client, the latter in a zone for each device class. Phases are states: "train", and of
// what came to nothing "train_broken", "upload_cancelled"; work of one owner that overlaps stands
// on hosts "NAME (2)" beside it. Variables: "bytes_up" and "bytes_down", sums so far at the end of
// each phase, and the server's "accuracy". Marks are the ends of rounds.
#pragma once

#include "sim/platform/paje.h"
#include "sim/results/result.pb.h"

namespace fedclock::results {

platform::PajeTimeline paje_timeline(const v1::Result& result);

}  // namespace fedclock::results
