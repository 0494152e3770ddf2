// Event files of results written by hand, read back by a reader of the format that is written here.
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <stdexcept>

#include "sim/results/exports.h"
#include "sim/results/tensorboard.pb.h"
#include "tests/sim/results/export_examples.h"

namespace fedclock::results {
namespace {

using Catch::Contains;

// Bit by bit, as the polynomial says.
uint32_t crc32c(const std::string& data) {
  uint32_t crc = 0xFFFFFFFF;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc % 2 == 1 ? crc / 2 ^ 0x82F63B78 : crc / 2;
  }
  return ~crc;
}

uint64_t number_at(const std::string& bytes, size_t at, size_t size) {
  if (at + size > bytes.size()) throw std::runtime_error("cut off");
  uint64_t number = 0;
  for (size_t i = size; i-- > 0;) number = number * 256 + static_cast<unsigned char>(bytes[at + i]);
  return number;
}

// Throws where a checksum is wrong or the file ends early.
std::vector<std::string> records(const std::string& bytes) {
  const auto check = [&](size_t at, size_t size) {
    const auto unmasked = static_cast<uint32_t>(number_at(bytes, at + size, 4) - 0xA282EAD8);
    const uint32_t crc = unmasked << 15 | unmasked >> 17;
    if (crc != crc32c(bytes.substr(at, size))) throw std::runtime_error("checksum");
  };
  std::vector<std::string> data;
  for (size_t at = 0; at < bytes.size();) {
    const uint64_t size = number_at(bytes, at, 8);
    check(at, 8);
    check(at + 12, size);
    data.push_back(bytes.substr(at + 12, size));
    at += 12 + size + 4;
  }
  return data;
}

using Scalars = std::map<std::string, float>;

// Of the rounds' events.
std::vector<Scalars> scalars(const v1::Result& result) {
  std::vector<Scalars> all;
  const std::vector<std::string> data = records(tensorboard_events(result));
  for (size_t i = 1; i < data.size(); ++i) {
    tensorboard::Event event;
    REQUIRE(event.ParseFromString(data[i]));
    const v1::Round& round = result.rounds(static_cast<int>(i) - 1);
    CHECK(event.wall_time() == round.end_s());
    CHECK(event.step() == round.round());
    Scalars& one = all.emplace_back();
    for (const auto& value : event.summary().value()) one[value.tag()] = value.simple_value();
  }
  return all;
}

TEST_CASE("tensorboard: records, checksums and bytes of its messages") {
  CHECK(crc32c("123456789") == 0xE3069283);  // the check value of CRC-32C
  for (const v1::Result& result : test::all_examples()) {
    const std::vector<std::string> data = records(tensorboard_events(result));
    REQUIRE(static_cast<int>(data.size()) == 1 + result.rounds_size());
    CHECK(data[0] ==
          "\x1A\x0D"
          "brain.Event:2");  // field 3, 13 bytes
  }
  const std::string bytes = tensorboard_events(test::on_devices({"a"}));
  // Event.summary (5), its value (1), tag (1) and simple_value (2): 0.25F is 0x3E800000.
  CHECK_THAT(bytes, Contains(std::string("\x0A\x0F\x0A\x08"
                                         "accuracy\x15\0\0\x80\x3E",
                                         17)));
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string broken = bytes;
    broken[at] = static_cast<char>(broken[at] ^ 0x10);
    CHECK_THROWS(records(broken));
  }
  CHECK_THROWS_WITH(records(bytes.substr(0, bytes.size() - 1)), "cut off");
}

TEST_CASE("tensorboard: what was measured, and sums so far") {
  const std::vector<Scalars> found = scalars(test::synchronous());
  REQUIRE(found.size() == 3);
  CHECK(found[0] == Scalars{{"accuracy", 0.25F},
                            {"traffic/bytes_up", 0},
                            {"traffic/bytes_down", 0},
                            {"joules", 0}});
  CHECK(found[1] == Scalars{{"client_accuracy", 0.125F},
                            {"loss", 1.5F},
                            {"train_loss", 2.5F},
                            {"round_s", 1.0F / 3},
                            {"dropped", 1},
                            {"traffic/bytes_up", 150},
                            {"traffic/bytes_down", 260},
                            {"joules", 7}});
  CHECK(std::isnan(found[2].at("accuracy")));
  CHECK(found[2].at("traffic/bytes_up") == 155);
  CHECK(found[2].at("joules") == 10);
  CHECK(scalars(test::asynchronous())[3].count("joules") == 0);
}

}  // namespace
}  // namespace fedclock::results
