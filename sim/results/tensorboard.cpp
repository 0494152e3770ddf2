#include <boost/crc.hpp>
#include <cstdint>
#include <string_view>

#include "sim/results/exports.h"
#include "sim/results/tensorboard.pb.h"
#include "sim/results/totals.h"

namespace fedclock::results {

namespace {

// CRC-32C: Castagnoli's polynomial, both ends reflected.
using Crc32c = boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true>;

template <class Number>
std::string little_endian(Number number) {
  std::string bytes;
  for (size_t i = 0; i < sizeof number; ++i) bytes += static_cast<char>(number >> (8 * i) & 0xFF);
  return bytes;
}

// Masked, because a CRC of data that holds CRCs says little.
std::string masked_crc(std::string_view data) {
  Crc32c sum;
  sum.process_bytes(data.data(), data.size());
  const uint32_t crc = sum.checksum();
  return little_endian<uint32_t>((crc >> 15 | crc << 17) + 0xA282EAD8U);
}

std::string record(const tensorboard::Event& event) {
  const std::string data = event.SerializeAsString();
  const std::string length = little_endian<uint64_t>(data.size());
  return length + masked_crc(length) + data + masked_crc(data);
}

void add(tensorboard::Event& event, const char* tag, double value) {
  tensorboard::Summary::Value& scalar = *event.mutable_summary()->add_value();
  scalar.set_tag(tag);
  scalar.set_simple_value(static_cast<float>(value));
}

}  // namespace

std::string tensorboard_events(const v1::Result& result) {
  tensorboard::Event version;
  version.set_file_version("brain.Event:2");
  std::string bytes = record(version);
  const bool counts_energy = energy_of(result).has_value();
  Traffic so_far;
  double joules = 0;
  for (const v1::Round& round : result.rounds()) {
    tensorboard::Event event;
    event.set_wall_time(round.end_s());
    event.set_step(round.round());
    if (round.has_accuracy()) add(event, "accuracy", round.accuracy());
    if (round.has_client_accuracy()) add(event, "client_accuracy", round.client_accuracy());
    if (round.has_loss()) add(event, "loss", round.loss());
    if (round.has_train_loss()) add(event, "train_loss", round.train_loss());
    if (round.round() > 0) {
      add(event, "round_s", round.end_s() - round.start_s());
      add(event, "dropped", static_cast<double>(lost_in(round).dropped));
    }
    so_far.up += round.bytes_up();
    so_far.down += round.bytes_down();
    add(event, "traffic/bytes_up", static_cast<double>(so_far.up));
    add(event, "traffic/bytes_down", static_cast<double>(so_far.down));
    joules += energy_of(round).value_or(Energy{}).total_j();
    if (counts_energy) add(event, "joules", joules);
    bytes += record(event);
  }
  return bytes;
}

}  // namespace fedclock::results
