// Remedies: near words, other units, fields of another place.
#include "sim/scenario/suggest.h"

#include <catch2/catch.hpp>

#include "sim/scenario/scenario.pb.h"

namespace fedclock::scenario {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("edits are counted") {
  CHECK(edit_distance("rank", "rank") == 0);
  CHECK(edit_distance("rnak", "rank") == 1);  // neighbours swapped
  CHECK(edit_distance("rak", "rank") == 1);   // one inserted
  CHECK(edit_distance("upMbitS", "up_mbit_s") == 0);
  CHECK(edit_distance("kitten", "sitting") == 3);  // k-s, e-i, +g
  CHECK(edit_distance("", "abc") == 3);
}

TEST_CASE("only a near word is suggested") {
  CHECK(closest("fedti", {"fedit", "centralized"}) == "fedit");
  CHECK(closest("central", {"fedit", "centralized"}) == std::nullopt);  // 4 edits
  CHECK(closest("x", {"Q", "K"}) == std::nullopt);
  CHECK(suggest_name("zzz", {"a", "b"}) == "known: a, b");
}

TEST_CASE("a name in another unit is converted") {
  const auto& link = *v1::AccessLink::descriptor();
  const auto& device = *v1::Device::descriptor();
  const auto& mode = *v1::PowerMode::descriptor();
  const auto& stop = *v1::Stop::descriptor();
  CHECK_THAT(suggest_field("latency_us", "500", link).message,
             Contains("`latency_s` (seconds)? 500 microseconds is 0.0005"));
  CHECK_THAT(suggest_field("up_gbit_s", "0.1", link).message,
             Contains("`up_mbit_s` (Mbit/s)? 0.1 Gbit/s is 100"));
  // 2 MB/s are 16 Mbit/s.
  CHECK_THAT(suggest_field("up_mb_s", "2", link).message,
             Contains("`up_mbit_s` (Mbit/s)? 2 MB/s is 16"));
  CHECK_THAT(suggest_field("downMbps", "50", link).message, Contains("`down_mbit_s` (Mbit/s)?"));
  // 8 GiB are 8 x 1.073741824 GB.
  CHECK_THAT(suggest_field("memory_gib", "8", device).message, Contains("8 GiB is 8.58993"));
  CHECK_THAT(suggest_field("step_overhead_ms", "20", device).message, Contains("is 0.02"));
  CHECK_THAT(suggest_field("fp16_flops", "1e12", mode).message, Contains("1e12 FLOP/s is 1"));
  CHECK_THAT(suggest_field("busy_mw", "15000", mode).message, Contains("15000 milliwatts is 15"));
  CHECK_THAT(suggest_field("simulated_h", "2", stop).message, Contains("2 hours is 7200"));
  CHECK(suggest_field("latency", "0.1", link).field == "latency_s");
}

TEST_CASE("a field of another place is found there") {
  const auto& scenario = *v1::Scenario::descriptor();
  CHECK_THAT(suggest_field("up_mbit_s", "1", scenario).message,
             Contains("belongs to `platform.devices[].network.up_mbit_s`"));
  CHECK_THAT(suggest_field("alpha", "1", *v1::Stop::descriptor()).message,
             Contains("belongs to") && Contains("known here: rounds, simulated_s, accuracy"));
  // Every home of the name, each of the paths to a device too.
  CHECK_THAT(suggest_field("rank", "4", scenario).message,
             Contains("belongs to `model.adapter.rank` or `federation.assignment.uniform.rank`;"));
  CHECK_THAT(suggest_field("learning_rate", "4", scenario).message,
             Contains("`model.pretrain.learning_rate`, `federation.local.learning_rate` or "
                      "`federation.aggregation.server_optimizer.learning_rate`;"));
  CHECK_THAT(suggest_field("efficiency", "4", scenario).message,
             Contains("`platform.devices[].device.efficiency`") &&
                 Contains("`platform.server.device.efficiency`") &&
                 Contains("`platform.devices[].network.gateway.device.efficiency`"));
  // One letter off a field that is here is a slip, though DeviceGroup has that name.
  CHECK(suggest_field("mode", "{}", *v1::Device::descriptor()).field == "modes");
  CHECK_THAT(suggest_field("x", "1", *v1::SelectAll::descriptor()).message,
             Contains("this block has no fields"));
}

TEST_CASE("names of other programs are known") {
  const auto& scenario = *v1::Scenario::descriptor();
  const std::pair<const char*, const char*> cases[] = {
      {"clients", "platform.devices[].count"},
      {"num_clients", "platform.devices[].count"},
      {"client_count", "platform.devices[].count"},
      {"clients_per_round", "federation.selection.random.count"},
      {"num_rounds", "stop.rounds"},
      {"local_steps", "federation.local.steps"},
      {"local_epochs", "federation.local.epochs"},
      {"lr", "federation.local.learning_rate"},
      {"lora_rank", "model.adapter.rank"},
      {"loraRank", "model.adapter.rank"},
      {"lora_alpha", "model.adapter.alpha"},
      {"lora_dropout", "model.adapter.dropout"},
      {"target_modules", "model.adapter.targets"},
  };
  for (const auto& [name, path] : cases) {
    CHECK_THAT(suggest_field(name, "4", scenario).message,
               Contains("belongs to `" + std::string(path) + "`;"));
  }
  CHECK(suggest_field("lora_rank", "4", *v1::Adapter::descriptor()).field == "rank");
}

}  // namespace
}  // namespace fedclock::scenario
