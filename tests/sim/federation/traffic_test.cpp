// What travels under each method, to the byte.
//
// The tiny model: adapters on q, v (32 -> 32) and down (128 -> 32) of 2 layers, 4 classes. At rank
// r a layer's A have r (32 + 32 + 128) = 192 r elements, its B r (32 + 32 + 32) = 96 r; the head
// has 4 x 32 + 4 = 132. An element is 4 bytes; a file has a header besides (models/cost/payload.h).
#include <catch2/catch.hpp>

#include <algorithm>
#include <map>

#include "tests/sim/federation/parts.h"

namespace fedclock::federation {
namespace {

using learning::Share;
using test::result_of;
using test::share_of;
using test::timed_workload;
using test::with;

constexpr int64_t kHead = 132;
constexpr int64_t a_elements(int64_t rank) { return 192 * rank; }
constexpr int64_t b_elements(int64_t rank) { return 96 * rank; }

struct Traffic {
  int64_t down = 0, up = 0;
  bool operator==(const Traffic&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Traffic& t) {
  return out << t.down << " down, " << t.up << " up";
}

// Of each client in each of the rounds 1, 2, ...
std::vector<std::map<int32_t, Traffic>> traffic(const std::vector<std::string>& overrides) {
  const v1::Result result = result_of(overrides);
  test::check_conserved(result);
  std::vector<std::map<int32_t, Traffic>> rounds;
  for (const v1::Round& round : result.rounds()) {
    if (round.round() == 0) continue;
    auto& clients = rounds.emplace_back();
    for (const v1::ClientRound& c : round.clients()) {
      clients[c.client()] = {c.bytes_down(), c.bytes_up()};
    }
  }
  return rounds;
}

const std::vector<std::string> kAll = {"federation.selection={all:{}}"};

Share share(std::vector<int64_t> ranks, bool a = true, bool b = true, bool head = true) {
  return {std::move(ranks), a, b, head};
}

// Bytes of the share, whose elements are as many as the hand says; under 120 bytes of header for
// each of its tensors.
int64_t bytes(const Share& share, int64_t elements) {
  static const Workload work = timed_workload();
  CHECK(work.elements(share) == elements);
  const int64_t tensors = share.layers() * 3 * (share.a + share.b) + 2 * share.head;
  CHECK(work.bytes(share) > 4 * elements);
  CHECK(work.bytes(share) <= 4 * elements + 16 + 120 * tensors);
  return work.bytes(share);
}

void check_all(const std::vector<std::map<int32_t, Traffic>>& rounds, const Traffic& each) {
  REQUIRE(rounds.size() == 3);
  for (const auto& clients : rounds) {
    REQUIRE(clients.size() == 6);
    for (const auto& [client, seen] : clients) CHECK(seen == each);
  }
}

TEST_CASE("traffic: FedIT sends both factors and the head, both ways") {
  const int64_t whole = bytes(share({4, 4}), 2 * (a_elements(4) + b_elements(4)) + kHead);
  check_all(traffic(with(kAll, {"method=fedit"})), {whole, whole});
  // What the server makes of the mean, and what is added to the loss, does not travel.
  for (const char* name : {"fedprox", "fedavgm", "fedadam", "fedyogi", "fdlora"}) {
    CAPTURE(name);
    check_all(traffic(with(kAll, {std::string("method=") + name})), {whole, whole});
  }
}

TEST_CASE("traffic: uniform depth and rank, less of the same") {
  const int64_t last = bytes(share({0, 4}), a_elements(4) + b_elements(4) + kHead);
  check_all(traffic(with(kAll, {"federation.assignment={uniform:{depth:1}}"})), {last, last});
  const int64_t head = bytes(share({0, 0}), kHead);
  check_all(traffic(with(kAll, {"federation.assignment={uniform:{depth:0}}"})), {head, head});
  const int64_t narrow = bytes(share({2, 2}), 2 * (a_elements(2) + b_elements(2)) + kHead);
  check_all(traffic(with(kAll, {"federation.assignment={uniform:{rank:2}}"})), {narrow, narrow});
}

TEST_CASE("traffic: FFA-LoRA sends B and the head") {
  const int64_t b = bytes(share({4, 4}, false), 2 * b_elements(4) + kHead);
  check_all(traffic(with(kAll, {"method=ffa_lora"})), {b, b});
}

TEST_CASE("traffic: FedSA-LoRA sends A alone") {
  const int64_t a = bytes(share({4, 4}, true, false, false), 2 * a_elements(4));
  check_all(traffic(with(kAll, {"method=fedsa_lora"})), {a, a});
}

TEST_CASE("traffic: FedALT sends adapters, and keeps routers and heads") {
  const int64_t both = bytes(share({4, 4}, true, true, false), 2 * (a_elements(4) + b_elements(4)));
  check_all(traffic(with(kAll, {"method=fedalt"})), {both, both});
}

TEST_CASE("traffic: SCAFFOLD sends as much again") {
  const int64_t whole = bytes(share({4, 4}), 2 * (a_elements(4) + b_elements(4)) + kHead);
  check_all(traffic(with(kAll, {"method=scaffold"})), {2 * whole, 2 * whole});
}

TEST_CASE(
    "traffic: RoLoRA sends B in odd rounds, A in even ones, and brings up to date who was "
    "away") {
  const int64_t both = bytes(share({4, 4}), 2 * (a_elements(4) + b_elements(4)) + kHead);
  const int64_t b = bytes(share({4, 4}, false), 2 * b_elements(4) + kHead);
  const int64_t a = bytes(share({4, 4}, true, false), 2 * a_elements(4) + kHead);
  const auto everyone = traffic(with(kAll, {"method=rolora", "stop.rounds=4"}));
  REQUIRE(everyone.size() == 4);
  for (int32_t client = 0; client < 6; ++client) {
    CHECK(everyone[0].at(client) == Traffic{both, b});
    CHECK(everyone[1].at(client) == Traffic{b, a});
    CHECK(everyone[2].at(client) == Traffic{a, b});
    CHECK(everyone[3].at(client) == Traffic{b, a});
  }
  // Four of six a round.
  const auto some = traffic({"method=rolora", "stop.rounds=12"});
  std::map<int32_t, int64_t> last;  // round of each client's last part
  int away = 0;
  for (int64_t round = 1; round <= 12; ++round) {
    for (const auto& [client, seen] : some[static_cast<size_t>(round - 1)]) {
      const bool odd = round % 2 == 1;
      const bool there = round > 1 && last[client] == round - 1;
      away += round > 1 && !there;
      CHECK(seen == Traffic{!there ? both : (odd ? a : b), odd ? b : a});
      last[client] = round;
    }
  }
  CHECK(away > 5);
}

TEST_CASE("traffic: HetLoRA and FlexLoRA, each kind of board its rank") {
  // The slower kind has the first of the ranks 2, 4, 8, the faster one the last.
  const int64_t two = bytes(share({2, 2}), 2 * (a_elements(2) + b_elements(2)) + kHead);
  const int64_t eight = bytes(share({8, 8}), 2 * (a_elements(8) + b_elements(8)) + kHead);
  // HetLoRA prunes by numbers; without that, it needs none.
  const std::vector<std::string> plain = {
      "method=hetlora", "federation.local={plain:{} steps:6 batch_size:16 learning_rate:0.01}"};
  for (const auto& overrides : {plain, std::vector<std::string>{"method=flexlora"}}) {
    const auto rounds = traffic(with(kAll, overrides));
    REQUIRE(rounds.size() == 3);
    for (const auto& clients : rounds) {
      for (int32_t client = 0; client < 4; ++client) CHECK(clients.at(client) == Traffic{two, two});
      for (int32_t client = 4; client < 6; ++client) {
        CHECK(clients.at(client) == Traffic{eight, eight});
      }
    }
  }
}

TEST_CASE("traffic: LEGEND sends a device its own layers, of rising ranks") {
  // Ranks 4 and 12 of the two layers. The slower kind: 0.5 x 2 layers, the faster 0.75 x 2, rounded
  // up: 2.
  const int64_t last = bytes(share({0, 12}), a_elements(12) + b_elements(12) + kHead);
  const int64_t all = bytes(share({4, 12}), a_elements(16) + b_elements(16) + kHead);
  const auto rounds = traffic(with(kAll, {"method=legend"}));
  REQUIRE(rounds.size() == 3);
  for (const auto& clients : rounds) {
    for (int32_t client = 0; client < 4; ++client) CHECK(clients.at(client) == Traffic{last, last});
    for (int32_t client = 4; client < 6; ++client) CHECK(clients.at(client) == Traffic{all, all});
  }
  // With the whole download the slower ones receive both layers.
  const auto whole =
      traffic(with(kAll, {"method=legend", "federation.assignment.capacity.whole_download=true"}));
  REQUIRE(whole.size() == 3);
  CHECK(whole[0].at(0) == Traffic{all, last});
}

// Of so many stacks of four adapters of rank 1, the last one with the head; or the whole matrices
// where these are less: 32 x 32 + 32 x 32 + 32 x 128 elements a layer.
int64_t stacks(int64_t count) {
  const int64_t with_head = bytes(share({4, 4}), 2 * (a_elements(4) + b_elements(4)) + kHead);
  const int64_t without =
      bytes(share({4, 4}, true, true, false), 2 * (a_elements(4) + b_elements(4)));
  const int64_t all = with_head + (count - 1) * without;
  const int64_t matrices = timed_workload().bytes_of_matrices(share({1, 1}));
  const int64_t elements = 2 * (32 * 32 + 32 * 32 + 32 * 128) + kHead;
  CHECK((matrices > 4 * elements && matrices <= 4 * elements + 16 + 8 * 120));
  return std::min(all, matrices);
}

TEST_CASE("traffic: FLoRA sends what everyone stacked, to those who were away all of it") {
  const int64_t head = bytes(share({0, 0}), kHead);
  const int64_t own = bytes(share({1, 1}), 2 * (a_elements(1) + b_elements(1)) + kHead);
  // Four of six a round, at rank 1: stacks of rank 4.
  const auto rounds = traffic({"method=flora", "model.adapter.rank=1", "stop.rounds=40"});
  REQUIRE(rounds.size() == 40);
  std::map<int32_t, int64_t> known;  // merges that each client has
  int64_t most = 0;
  for (int64_t round = 1; round <= 40; ++round) {
    for (const auto& [client, seen] : rounds[static_cast<size_t>(round - 1)]) {
      const int64_t missed = round - 1 - known[client];
      CAPTURE(round, client, missed);
      CHECK(seen == Traffic{missed == 0 ? head : stacks(missed), own});
      known[client] = round - 1;
      most = std::max(most, missed);
    }
  }
  // Five stacks of 2304 elements with their headers are more than the 12,420 of the matrices.
  CHECK(stacks(4) < stacks(5));
  CHECK(stacks(5) == stacks(9));
  CHECK(most >= 4);
  // All six at rank 4: a stack of rank 24 has 2 x 24 x 288 elements, more than the matrices.
  const auto six = traffic(with(kAll, {"method=flora"}));
  CHECK(six[1].at(0).down == timed_workload().bytes_of_matrices(share({4, 4})));
  CHECK(six[1].at(0).down < timed_workload().bytes(share({24, 24})));
}

TEST_CASE("traffic: FLoRA with unequal depths: matrices of all layers that were missed") {
  // Slow boards tune the last layer, at rank 4, large ones both. One client a round: a large board
  // that stays away while boards merge one layer each has missed what a large one merged before.
  const std::vector<std::string> overrides = {
      "method=flora", "federation.selection={random:{count:1}}", "stop.rounds=60",
      "federation.assignment={capacity:{depth_shares:[0.5, 1]}}"};
  const auto rounds = traffic(overrides);
  REQUIRE(rounds.size() == 60);
  const Workload work = timed_workload();
  std::map<int32_t, size_t> known;
  std::vector<Share> merged;
  int mixed = 0;
  for (const auto& clients : rounds) {
    REQUIRE(clients.size() == 1);
    const auto& [client, seen] = *clients.begin();
    int64_t sum = 0;
    Share union_of = share({0, 0});
    for (size_t i = known[client]; i < merged.size(); ++i) {
      Share stack = merged[i];
      stack.head = i + 1 == merged.size();
      sum += work.bytes(stack);
      for (size_t layer = 0; layer < 2; ++layer) {
        union_of.ranks[layer] = std::max(union_of.ranks[layer], stack.ranks[layer]);
      }
    }
    const bool away = known[client] < merged.size();
    // Where the last stack alone would say too little.
    mixed += away && work.bytes_of_matrices(merged.back()) <
                         std::min(sum, work.bytes_of_matrices(union_of));
    CHECK(seen.down ==
          (away ? std::min(sum, work.bytes_of_matrices(union_of)) : work.bytes(share({0, 0}))));
    known[client] = merged.size();
    merged.push_back(client < 4 ? share_of(1) : share_of(2));
  }
  CHECK(mixed > 0);
}

TEST_CASE("traffic: FLoRA sends again what did not arrive, and what arrived is added to the base") {
  // Client 0 goes off in the download of round 2 and is dropped: in round 3 it still lacks the
  // merge of round 1.
  const Workload work = timed_workload();
  const double whole_s = test::part_of(work, test::board()).all();
  const v1::Result result =
      result_of(with(kAll, {"method=flora", "model.adapter.rank=1", "stop.rounds=3",
                            "federation.schedule={synchronous:{on_failure:DROP}}",
                            "platform.outages=[{client:0 start_s:" + std::to_string(whole_s) +
                                " duration_s:0.001}]"}));
  test::check_conserved(result);
  const v1::ClientRound& dropped = result.rounds(2).clients(0);
  REQUIRE(dropped.client() == 0);
  REQUIRE(dropped.dropped());
  REQUIRE(dropped.train_s() == 0);
  const int64_t six_without =
      bytes(share({6, 6}, true, true, false), 2 * (a_elements(6) + b_elements(6)));
  const int64_t five = bytes(share({5, 5}), 2 * (a_elements(5) + b_elements(5)) + kHead);
  CHECK(result.rounds(3).clients(0).bytes_down() == six_without + five);
  CHECK(result.rounds(3).clients(1).bytes_down() == five);
  // Before it trains a client adds what it received to the base: 2 rank in out flops for each
  // adapter, 6144 = sum of in out a layer, at 0.5e12 x 0.4 a second.
  const double steps_s = result.rounds(1).clients(1).train_s();  // there was nothing to add
  CHECK(result.rounds(3).clients(1).train_s() - steps_s ==
        Approx(2 * 5 * 2 * 6144 / 0.2e12).epsilon(1e-4));
  CHECK(result.rounds(3).clients(0).train_s() - steps_s ==
        Approx(2 * 11 * 2 * 6144 / 0.2e12).epsilon(1e-4));
}

TEST_CASE("traffic: merges of a language model, and of clients that share nothing") {
  // Without a head all that a stack has are adapters.
  WorkloadSpec spec = timed_workload().spec();
  spec.head_outputs = 0;
  const Workload model(spec);
  const std::vector<Update> updates(3, Update{0, 1, {}, share_of(2)});
  const cost::Machine server{"server", 20e12, 0.5, 2000e9, 80e9, 0.001};
  for (const auto& aggregation :
       {weighted_mean({}).release(), padded_with_zeros().release(), taken_apart_by_svd().release(),
        stacked_into_base({1, 3, {4, 4}}).release()}) {
    const std::unique_ptr<Aggregation> owned(aggregation);
    CHECK(model.flops_of(server, owned->work(model, updates)) > 0);
  }
  // One of two has no layer: of A alone it sends nothing.
  const auto mean = weighted_mean({});
  const Workload work = timed_workload();
  const Share a = share({4, 4}, true, false, false), none = share({0, 0}, true, false, false);
  const cost::Work both = mean->work(work, {{0, 1, {}, none}, {1, 1, {}, a}});
  CHECK(both.memory_bytes == mean->work(work, {{1, 1, {}, a}}).memory_bytes);
  CHECK(both.memory_bytes == 2 * 4 * 2 * a_elements(4));
}

TEST_CASE("traffic: references send nothing") {
  for (const char* name : {"local_only", "centralized"}) {
    const v1::Result result = result_of(with(kAll, {std::string("method=") + name}));
    REQUIRE(result.rounds_size() == 4);
    for (const v1::Round& round : result.rounds()) {
      CHECK(round.bytes_up() == 0);
      CHECK(round.bytes_down() == 0);
    }
    test::check_conserved(result);
  }
}

}  // namespace
}  // namespace fedclock::federation
