#include "sim/results/why.h"

#include <catch2/catch.hpp>

#include "models/common/error.h"

namespace fedclock::results {
namespace {

using Catch::Contains;

void add_client(v1::Round& round, int32_t client, double download_s, double train_s,
                double upload_s, double wait_s) {
  v1::ClientRound& one = *round.add_clients();
  one.set_client(client);
  one.set_download_s(download_s);
  one.set_train_s(train_s);
  one.set_upload_s(upload_s);
  one.set_wait_s(wait_s);
}

// Clients 0 and 2 on slow boards, 1 on a fast one. Round 1: client 2 is last at 10 s, client 0 at
// 9, client 1 at 4; merge 1 s. Round 2: clients 0 and 1 end together at 15 s; merge 1 s.
v1::Result example() {
  v1::Result result;
  for (const char* device : {"slow", "fast", "slow"}) result.add_clients()->set_device(device);
  result.add_rounds()->set_round(0);
  v1::Round& first = *result.add_rounds();
  first.set_round(1);
  first.set_end_s(11);
  first.set_merge_s(1);
  add_client(first, 0, 1, 6, 2, 2);
  add_client(first, 1, 1, 2, 1, 7);
  add_client(first, 2, 1, 7, 2, 1);
  v1::Round& second = *result.add_rounds();
  second.set_round(2);
  second.set_start_s(11);
  second.set_end_s(16);
  second.set_merge_s(1);
  add_client(second, 0, 1, 2, 1, 1);
  add_client(second, 1, 2, 1, 1, 1);
  return result;
}

TEST_CASE("why: a round's end waited for its last client and the merge") {
  const RoundCause first = cause_of_round(example(), 1);
  CHECK(first.client == 2);
  CHECK(first.ahead_s == 1);
  CHECK(first.path.download_s == 1);
  CHECK(first.path.train_s == 7);
  CHECK(first.path.upload_s == 2);
  CHECK(first.path.total_s() == first.end_s - first.start_s);  // 1 + 7 + 2 + 1
  const RoundCause second = cause_of_round(example(), 2);
  CHECK(second.client == 0);  // of equals the first
  CHECK(second.ahead_s == 0);
  CHECK(second.path.total_s() == 5);
}

TEST_CASE("why: over all rounds") {
  const CriticalPath path = critical_path(example());
  CHECK(path.download_s == 2);
  CHECK(path.train_s == 9);
  CHECK(path.upload_s == 3);
  CHECK(path.merge_s == 2);
  CHECK(path.total_s() == 16);
  const auto shares = shares_by_device(example(), {});
  REQUIRE(shares.size() == 2);
  CHECK(shares[0].device == "slow");
  CHECK(shares[0].client_rounds == 3);
  CHECK(shares[0].critical_rounds == 2);
  CHECK(shares[0].train_s == 5);               // (6 + 7 + 2) / 3
  CHECK(shares[0].wait_s == Approx(4.0 / 3));  // (2 + 1 + 1) / 3
  CHECK(shares[1].client_rounds == 2);
  CHECK(shares[1].critical_rounds == 0);
  CHECK(shares[1].wait_s == 4);
  const auto one = shares_by_device(example(), 2);
  CHECK(one[0].client_rounds == 1);
  CHECK(one[0].critical_rounds == 1);
}

TEST_CASE("why: devices that were away are on the path") {
  v1::Result result = example();
  // Nobody was reachable for 4 s after round 1, and client 0 of round 2 broke off for 3 s.
  v1::Round& second = *result.mutable_rounds(2);
  second.set_start_s(15);
  second.set_end_s(23);
  second.mutable_clients(0)->set_end_s(22);
  second.mutable_clients(0)->set_off_s(3);
  second.mutable_clients(1)->set_end_s(19);
  const RoundCause cause = cause_of_round(result, 2);
  CHECK(cause.client == 0);
  CHECK(cause.ahead_s == 3);
  CHECK(cause.path.away_s == 7);  // 12 s since round 1, less 1 + 2 + 1 and the merge
  CHECK(cause.path.total_s() == 12);
  CHECK(critical_path(result).total_s() == 23);
  CHECK(shares_by_device(result, 2)[0].off_s == 3);
  // Three of those seconds were another client's, whose place client 0 took.
  second.mutable_clients(0)->set_late_s(3);
  CHECK(cause_of_round(result, 2).path.dropped_s == 3);
  CHECK(cause_of_round(result, 2).path.away_s == 4);
}

TEST_CASE("why: a round of the server alone, a client alone, and none at all") {
  v1::Result central;
  central.add_rounds()->set_round(0);
  v1::Round& round = *central.add_rounds();
  round.set_round(1);
  round.set_end_s(3);
  round.set_server_train_s(3);
  CHECK_FALSE(cause_of_round(central, 1).client.has_value());
  CHECK(cause_of_round(central, 1).path.total_s() == 3);
  CHECK(shares_by_device(central, {}).empty());

  v1::Result alone = example();
  alone.mutable_rounds(2)->mutable_clients()->DeleteSubrange(1, 1);
  CHECK(cause_of_round(alone, 2).ahead_s == 0);

  for (const int64_t none : {-1, 0, 3}) {
    CHECK_THROWS_WITH(cause_of_round(example(), none), Contains("rounds 1 to 2"));
    CHECK_THROWS_AS(shares_by_device(example(), none), InputError);
  }
  v1::Result empty;
  empty.add_rounds()->set_round(0);
  CHECK_THROWS_WITH(cause_of_round(empty, 1), Contains("before its first round"));
}

}  // namespace
}  // namespace fedclock::results
