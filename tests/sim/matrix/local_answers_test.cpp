// What each answer to "how does each one train" makes of the learner's arithmetic, by hand: A is 1,
// B 2 and the head 3 in the beginning, and training adds 1 to what it trains, or what a test says.
#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "tests/sim/matrix/local_clients.h"

namespace fedclock::federation {
namespace {

using Ranks = std::vector<int64_t>;

TEST_CASE("plain: the job is the scenario's, and all of the share is trained and sent") {
  v1::Local answer;
  answer.mutable_plain();
  Clients clients(answer);
  const Part part = clients.part(3, 2, {{0, 2}, {4, 2}}, 5);
  CHECK(part.job.seed == 17);
  CHECK(part.job.round == 3);
  CHECK(part.job.client == 2);
  CHECK(part.job.part == 5);
  CHECK(part.job.learning_rate == 0.125 / 4);
  CHECK(part.job.settings.steps_for(8) == 4);
  CHECK(*part.job.rows == *rows_of(8));
  CHECK(part.job.trained == learning::Share{{0, 2}});
  CHECK(part.up == part.job.trained);
  CHECK(part.held == learning::Share{{4, 2}});
  CHECK(part.down == part.held);
  CHECK(part.job.proximal_mu == 0);
  CHECK(part.job.tail_lambda == 0);
  CHECK(!part.job.has_controls);
  CHECK(part.copies == 1);
  CHECK(!clients.local->is_personal());
  const Local::Trained trained = clients.train(part);
  CHECK(clients.flat(trained.update) ==
        Flat{{"0a", 1}, {"0b", 2}, {"1a", 2}, {"1b", 3}, {"head", 4}});
  CHECK(clients.flat(trained.sent) == Flat{{"1a", 2}, {"1b", 3}, {"head", 4}});
  CHECK(RecordingLearner::rank_of(trained.update, 0) == 4);
  CHECK(RecordingLearner::rank_of(trained.sent, 1) == 2);
  CHECK(clients.model_of(2, all(9)) == all(9));
}

TEST_CASE("FedProx: the job has the scenario's mu, and is else the plain one") {
  v1::Local answer;
  answer.mutable_proximal()->set_mu(0.75);
  Clients clients(answer);
  const Part part = clients.part(1, 0);
  CHECK(part.job.proximal_mu == 0.75);
  CHECK(clients.flat(clients.train(part).sent) == all(2, 3, 4));
  CHECK(clients.learner.trainings.at(0).job.proximal_mu == 0.75);
}

// c_i+ = c_i - c + (x - y) / (K eta), c+ = c + sum (c_i+ - c_i) / N, with N = 2 that have a part.
// Here y = x + amount - K eta (c - c_i), so that c_i+ is -amount / (K eta), where K eta is 0.5 in
// round 1, then 0.25, 0.125.
TEST_CASE("SCAFFOLD: control variates over three rounds") {
  v1::Local answer;
  answer.mutable_scaffold();
  Clients clients(answer, 3, 2);
  double amount = 0;
  clients.learner.step = [&](const learning::TrainJob&) { return amount; };
  const auto merged = [&](const std::vector<int32_t>& who) {
    clients.local->merged(clients.learner, who);
  };
  // y - x of a part; c and c_i that it had.
  const auto moved = [&](const Part& part, double by) {
    amount = by;
    const Flat sent = clients.flat(clients.train(part).sent);
    CHECK(sent == all(sent.at("0a"), sent.at("0a") + 1, sent.at("0a") + 2));
    return sent.at("0a") - 1;
  };
  using Controls = std::vector<Flat>;
  const auto controls = [&] { return clients.learner.trainings.back().controls; };

  const Part part = clients.part(1, 0);
  CHECK(part.job.has_controls);
  CHECK(part.copies == 2);
  CHECK(clients.local->copies() == 2);
  CHECK(moved(part, -1) == -1);  // c_0 = 1 / 0.5
  CHECK(controls() == Controls{{}, {}});
  CHECK(moved(clients.part(1, 1), -2) == -2);  // c_1 = 4
  CHECK(controls() == Controls{{}, {}});
  merged({0, 1});  // c = (2 + 4) / 2 = 3

  const Part first = clients.part(2, 0), second = clients.part(2, 1);
  CHECK(moved(first, -1) == -1.25);  // - 0.25 (3 - 2); c_0 = 1 / 0.25
  CHECK(controls() == Controls{all(3), all(2)});
  merged({0});  // c = 3 + (4 - 2) / 2 = 4
  // The other one was sent c before that.
  CHECK(moved(second, -2) == -1.75);  // - 0.25 (3 - 4); c_1 = 8
  CHECK(controls() == Controls{all(3), all(4)});
  merged({1});  // c = 4 + (8 - 4) / 2 = 6

  // Two parts before a merge: what counts is from before the first to after the last.
  CHECK(moved(clients.part(3, 0), -1) == -1.25);  // - 0.125 (6 - 4); c_0 = 8
  CHECK(controls() == Controls{all(6), all(4)});
  CHECK(moved(clients.part(3, 0, {{4, 4}, {4, 4}}, 1), -2) == -1.75);  // - 0.125 (6 - 8); 16
  CHECK(controls() == Controls{all(6), all(8)});
  merged({1, 2});  // neither has moved since
  moved(clients.part(3, 1), 0);
  CHECK(controls() == Controls{all(6), all(8)});
  merged({0});  // c = 6 + (16 - 4) / 2 = 12
  merged({0});  // and that is counted once
  moved(clients.part(4, 0), 0);
  CHECK(controls() == Controls{all(12), all(16)});
}

TEST_CASE("FFA: A stays, and does not travel") {
  v1::Local answer;
  answer.mutable_frozen_a();
  Clients clients(answer);
  const Part part = clients.part(1, 0);
  CHECK(factors(part.job.trained) == "bh");
  CHECK(factors(part.up) == "bh");
  CHECK(factors(part.down) == "bh");
  CHECK(factors(part.held) == "abh");
  CHECK(clients.local->whole(2, {{4, 4}}) == learning::Share{{4, 4}, false, true, true});
  const Local::Trained trained = clients.train(part);
  CHECK(clients.flat(trained.update) == all(1, 3, 4));
  CHECK(clients.flat(trained.sent) == Flat{{"0b", 3}, {"1b", 3}, {"head", 4}});
}

TEST_CASE("RoLoRA: B in odd rounds, A in even ones") {
  v1::Local answer;
  answer.mutable_alternating();
  Clients clients(answer);
  learning::Value global = clients.initial();
  std::vector<Flat> updates;
  const auto run = [&](const Part& part) {
    const Local::Trained trained = clients.train(part, global);
    updates.push_back(clients.flat(trained.sent));
    global = trained.update;
  };
  // What is trained and sent, and what a client is sent that has had a part in the round before.
  const Part one = clients.part(1, 0);
  CHECK(factors(one.job.trained) == "bh");
  CHECK(factors(one.up) == "bh");
  CHECK(factors(one.down) == "abh");
  run(one);
  CHECK(factors(clients.part(1, 0, {{4, 4}, {4, 4}}, 1).down) == "bh");  // again, of a group's
  const Part two = clients.part(2, 0);
  CHECK(factors(two.job.trained) == "ah");
  CHECK(factors(two.up) == "ah");
  CHECK(factors(two.down) == "bh");
  run(two);
  CHECK(factors(clients.part(2, 0, {{4, 4}, {4, 4}}, 1).down) == "ah");
  CHECK(factors(clients.part(2, 1).down) == "abh");  // another client, its first part
  const Part three = clients.part(3, 0);
  CHECK(factors(three.job.trained) == "bh");
  CHECK(factors(three.down) == "ah");
  run(three);
  CHECK(factors(clients.part(5, 0).down) == "abh");  // it was not there in round 4
  CHECK(updates == std::vector<Flat>{{{"0b", 3}, {"1b", 3}, {"head", 4}},
                                     {{"0a", 2}, {"1a", 2}, {"head", 5}},
                                     {{"0b", 4}, {"1b", 4}, {"head", 6}}});
  CHECK(clients.flat(global) == all(2, 4, 6));
  // What the round before has merged.
  CHECK(factors(clients.local->whole(1, {{4, 4}})) == "abh");
  CHECK(factors(clients.local->whole(2, {{4, 4}})) == "bh");
  CHECK(factors(clients.local->whole(3, {{4, 4}})) == "ah");
}

TEST_CASE("FedSA: A is everyone's, B and the head are each client's own") {
  v1::Local answer;
  answer.mutable_shared_a();
  Clients clients(answer);
  CHECK(clients.local->is_personal());
  CHECK(factors(clients.local->whole(3, {{4, 4}})) == "a");
  const Part part = clients.part(1, 0);
  CHECK(factors(part.job.trained) == "abh");
  CHECK(factors(part.up) == "a");
  CHECK(factors(part.down) == "a");
  const Local::Trained first = clients.train(part);
  CHECK(clients.flat(first.update) == all(2, 3, 4));
  CHECK(clients.flat(first.sent) == Flat{{"0a", 2}, {"1a", 2}});

  // The global B and head are nobody's.
  const Flat global = all(5, 50, 60);
  CHECK(clients.model_of(0, global) == all(5, 3, 4));
  CHECK(clients.model_of(1, global) == global);  // has had no part
  const Local::Trained second =
      clients.train(clients.part(2, 0), RecordingLearner::state_of(global));
  CHECK(clients.learner.trainings.back().start == all(5, 3, 4));
  CHECK(clients.flat(second.sent) == Flat{{"0a", 6}, {"1a", 6}});

  // A part with the upper layer alone, at rank 2: the lower one's B stays its own.
  const Local::Trained third =
      clients.train(clients.part(3, 0, {{0, 2}, {0, 2}}), RecordingLearner::state_of(global));
  CHECK(clients.learner.trainings.back().start == Flat{{"1a", 5}, {"1b", 4}, {"head", 5}});
  CHECK(clients.flat(third.sent) == Flat{{"1a", 6}});
  CHECK(clients.model_of(0, all(7, 70, 80)) ==
        Flat{{"0a", 7}, {"0b", 4}, {"1a", 7}, {"1b", 5}, {"head", 6}});
  const learning::Value own =
      clients.local->model_of(clients.learner, 0, RecordingLearner::state_of(all(7, 70, 80)));
  CHECK(RecordingLearner::rank_of(own, 0) == 4);
  CHECK(RecordingLearner::rank_of(own, 1) == 2);  // with its B
}

TEST_CASE("FDLoRA: a private copy of the first part and of every other one after that") {
  v1::Local answer;
  answer.mutable_private_beside_shared()->set_sync_every(2);
  answer.mutable_private_beside_shared()->set_fusion_rows(3);
  Clients clients(answer);
  CHECK(clients.local->is_personal());
  const Flat global = all(5, 6, 7);
  CHECK(clients.model_of(1, global) == global);  // has had no part
  CHECK(clients.learner.fusions.empty());
  // Of parts that begin at 10, 20, ..., the private copy is the first one's, then the third's.
  const std::vector<double> copies = {11, 11, 31, 31, 51};
  for (int64_t number = 0; number < 5; ++number) {
    const double begin = 10 * static_cast<double>(number + 1);
    const Local::Trained trained =
        clients.train(clients.part(number + 1, 1), RecordingLearner::state_of(all(begin)));
    CHECK(clients.flat(trained.sent) == all(begin + 1));  // as it is
    // A quarter of the global one, three of its own.
    const double own = 0.75 * copies[static_cast<size_t>(number)];
    CHECK(clients.model_of(1, global) == all(1.25 + own, 1.5 + own, 1.75 + own));
    const RecordingLearner::Fusion& fusion = clients.learner.fusions.back();
    CHECK(fusion.name == RecordingLearner::name_of(learning::fused(rows_of(3, 10))));
    CHECK(fusion.shared == global);
    CHECK(fusion.own == all(copies[static_cast<size_t>(number)]));
  }
  CHECK(clients.model_of(0, global) == global);
  // Where it has the upper layer alone, it uses no more of the global one.
  clients.train(clients.part(1, 2, {{0, 2}, {0, 2}}));
  clients.model_of(2, global);
  CHECK(clients.learner.fusions.back().shared == Flat{{"1a", 5}, {"1b", 6}, {"head", 7}});
  CHECK(clients.learner.fusions.back().own == Flat{{"1a", 2}, {"1b", 3}, {"head", 4}});
  const learning::Value own =
      clients.local->model_of(clients.learner, 2, RecordingLearner::state_of(global));
  CHECK(RecordingLearner::rank_of(own, 1) == 2);
}

v1::Local pruning(double gamma, int32_t least_rank) {
  v1::Local answer;
  v1::SelfPruningLocal& pruning = *answer.mutable_self_pruning();
  pruning.set_gamma(gamma);
  pruning.set_lambda(0.5);
  pruning.set_least_rank(least_rank);
  return answer;
}

TEST_CASE("self-pruning: ranks fall to g r where the tail has become less, and else stay") {
  Clients clients(pruning(0.7, 1));
  double amount = 0;
  clients.learner.step = [&](const learning::TrainJob&) { return amount; };
  // The rank of a part, and the rows of it that are no tail; then what it trains.
  const auto next = [&](double by) {
    const Part part = clients.part(1, 0);
    amount = by;
    const Local::Trained trained = clients.train(part);
    const int64_t rank = part.held.ranks[0];
    CHECK(part.held.ranks == Ranks{rank, rank});
    CHECK(part.job.trained.ranks == part.held.ranks);
    CHECK(part.up.ranks == part.held.ranks);
    CHECK(part.down.ranks == part.held.ranks);
    CHECK(RecordingLearner::rank_of(trained.sent, 1) == rank);
    return std::vector<double>{static_cast<double>(rank), static_cast<double>(part.job.tail_keep),
                               part.job.tail_lambda};
  };
  using Job = std::vector<double>;
  CHECK(next(0.5) == Job{4, 2, 0.5});    // floor(2.8); the tail grows
  CHECK(next(0) == Job{4, 2, 0.5});      // it stays
  CHECK(next(-0.25) == Job{4, 2, 0.5});  // it is less
  // Pruned once, however often a part is asked for.
  for (int i = 0; i < 3; ++i) CHECK(clients.part(2, 0).held.ranks == Ranks{2, 2});
  CHECK(next(0.5) == Job{2, 1, 0.5});  // floor(1.4)
  CHECK(next(-0.25) == Job{2, 1, 0.5});
  CHECK(next(-0.25) == Job{1, 1, 0});  // not below 1, and there is no tail
  CHECK(next(-0.25) == Job{1, 1, 0});
  CHECK(clients.part(2, 1).held.ranks == Ranks{4, 4});  // each by itself
}

TEST_CASE("self-pruning: both factors' norms count, of the tail alone") {
  // Layers' tails are |B| |A|: sqrt(4) 2 x sqrt(4) 1 = 8 each. A part with the upper layer alone
  // does not see the lower one's; ranks of layers that it does not hold stay 0.
  Clients clients(pruning(0.5, 1));
  clients.learner.step = [](const learning::TrainJob&) { return -0.25; };
  clients.train(clients.part(1, 0, {{0, 4}, {4, 4}}));
  const Part part = clients.part(2, 0, {{0, 4}, {4, 4}});
  CHECK(part.held.ranks == Ranks{2, 2});
  CHECK(part.up.ranks == Ranks{0, 2});
  // 2 x 1 becomes -(2 - 4) x -(1 - 4) = 2 x 3: the head's share of the change does not matter.
  Clients other(pruning(0.5, 1));
  other.learner.step = [](const learning::TrainJob&) { return -4; };
  other.train(other.part(1, 0));
  CHECK(other.part(2, 0).held.ranks == Ranks{4, 4});
}

TEST_CASE("self-pruning: no rank below the least, and a smaller plan stays as it is") {
  Clients clients(pruning(0.5, 3));
  clients.learner.step = [](const learning::TrainJob&) { return -0.25; };
  const Part first = clients.part(1, 0);
  CHECK(first.job.tail_keep == 3);
  clients.train(first);
  const Part second = clients.part(2, 0);
  CHECK(second.held.ranks == Ranks{3, 3});
  CHECK(second.job.tail_lambda == 0);
  clients.train(second);
  CHECK(clients.part(3, 0).held.ranks == Ranks{3, 3});
  // Who tunes the head alone holds the others' adapters all the same, and prunes none.
  const Part head = clients.part(1, 2, {{0, 0}, {4, 4}});
  CHECK(head.held.ranks == Ranks{4, 4});
  CHECK(clients.part(2, 2).up.ranks == Ranks{4, 4});
  // 0.58 x 50 is 29, and 28.999999999999996 in doubles.
  Clients large(pruning(0.58, 1), 1, 1, 50);
  CHECK(large.part(1, 0, {{50, 50}, {50, 50}}).job.tail_keep == 29);
  // Client 1 has rank 2 at most: less than the least is no reason to grow.
  const Part small = clients.part(1, 1, {{2, 2}, {2, 2}});
  CHECK(small.job.tail_keep == 2);
  CHECK(small.job.tail_lambda == 0);
  clients.train(small);
  CHECK(clients.part(2, 1, {{2, 2}, {2, 2}}).held.ranks == Ranks{2, 2});
}

}  // namespace
}  // namespace fedclock::federation
