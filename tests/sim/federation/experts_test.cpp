// Who holds which experts, and what they cost a client; against hand arithmetic.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>

#include "sim/federation/assignment/assignment.h"
#include "tests/sim/federation/fake_learner.h"
#include "tests/sim/federation/parts.h"

namespace fedclock::federation {
namespace {

constexpr nn::Module kQ{0, nn::Target::kQ}, kV{0, nn::Target::kV};

v1::ExpertAssignment answer_of(int experts, int choices, int least, int most) {
  v1::ExpertAssignment answer;
  answer.set_experts(experts);
  answer.set_choices(choices);
  answer.set_min_experts(least);
  answer.set_max_experts(most);
  return answer;
}

AssignmentInputs inputs_of(size_t clients, learning::Learner& learner) {
  AssignmentInputs inputs;
  inputs.layers = 1;
  inputs.rank = 1;
  inputs.targets = {nn::Target::kQ};
  inputs.full_depth_step_s.assign(clients, 1);
  inputs.seed = 1;
  inputs.learner = &learner;
  return inputs;
}

Observation seen_by(int32_t client, const Plan& plan, const learning::Value& embeddings) {
  Observation seen;
  seen.occasion = {1};
  seen.client = client;
  seen.plan = plan;
  seen.embeddings = embeddings;
  return seen;
}

// Two experts and two clients of rank 1; one choice each, so that each client gets one of them.
// Whoever held what in round 1: e_0 = 2, e_1 = -1, t_0 = -3, t_1 = 1. The softmax of expert 0 over
// <e, t> = (-6, 2) prefers client 1, that of expert 1 over (3, -1) client 0.
TEST_CASE("experts choose by the embeddings that were sent") {
  test::FakeLearner learner;
  const auto assignment = assign_experts(answer_of(2, 1, 1, 1), inputs_of(2, learner));
  std::vector<Plan> first;
  for (int32_t client : {0, 1}) first.push_back(assignment->plan({1}, client));
  CHECK(first[0].expert_count() == 1);
  CHECK(first[0].experts.at(kQ) != first[1].experts.at(kQ));
  CHECK((first[0].tuned == std::vector<int64_t>{1}));
  const double e[] = {2, -1}, t[] = {-3, 1};
  for (int32_t client : {0, 1}) {
    const int32_t own = first[static_cast<size_t>(client)].experts.at(kQ).front();
    const auto value = learner.value({e[own], t[client]});
    assignment->observe(seen_by(client, first[static_cast<size_t>(client)], value));
  }
  CHECK((assignment->plan({2}, 0).experts == nn::ModuleExperts{{kQ, {1}}}));
  CHECK((assignment->plan({2}, 1).experts == nn::ModuleExperts{{kQ, {0}}}));
  // Nobody has sent anything since: the same choice.
  CHECK((assignment->plan({3}, 0).experts == nn::ModuleExperts{{kQ, {1}}}));
}

// With t_0 = 1 and t_1 = 3, an expert's S for client 0 is the sigmoid of -2 e: who has the lower e
// gets client 0, the other one client 1.
TEST_CASE("an expert's embedding is the mean over its holders") {
  test::FakeLearner learner;
  const nn::ModuleExperts both{{kQ, {0, 1}}}, first{{kQ, {0}}};
  struct Sent {
    nn::ModuleExperts experts;
    std::vector<double> numbers;  // of the experts, and the tokens'
  };
  const auto expert_of_client_0 = [&](const Sent& by_0, const Sent& by_1) {
    const auto assignment = assign_experts(answer_of(2, 1, 1, 1), inputs_of(2, learner));
    Plan plan = assignment->plan({1}, 0);
    plan.experts = by_0.experts;
    assignment->observe(seen_by(0, plan, learner.value(by_0.numbers)));
    plan.experts = by_1.experts;
    assignment->observe(seen_by(1, plan, learner.value(by_1.numbers)));
    return assignment->plan({2}, 0).experts.at(kQ).front();
  };
  // e_0 = -1 and e_1 = -0.5, whoever sent 4, which alone would give it client 1.
  CHECK(expert_of_client_0({both, {4, -0.5, 1}}, {both, {-6, -0.5, 3}}) == 0);
  CHECK(expert_of_client_0({both, {-6, -0.5, 1}}, {both, {4, -0.5, 3}}) == 0);
  // e_0 = -0.6, not the sum of -1.2, and e_1 = -1, of one holder.
  CHECK(expert_of_client_0({both, {-0.6, -1, 1}}, {first, {-0.6, 3}}) == 1);
}

TEST_CASE("embeddings of other experts than the plan's are the caller's mistake") {
  test::FakeLearner learner;
  const auto assignment = assign_experts(answer_of(2, 2, 2, 2), inputs_of(2, learner));
  const Plan plan = assignment->plan({1}, 0);
  CHECK((plan.experts == nn::ModuleExperts{{kQ, {0, 1}}}));
  assignment->observe(seen_by(1, plan, learner.value({0, -1})));
  CHECK_THROWS_AS(assignment->plan({2}, 1), ProgrammerError);
}

TEST_CASE("experts: drawn once, drawn anew, or as many for everyone") {
  test::FakeLearner learner;
  const auto plans = [&](v1::ExpertAssignment answer, int64_t round) {
    const auto assignment = assign_experts(answer, inputs_of(6, learner));
    std::vector<nn::ModuleExperts> all;
    for (int64_t r = 1; r <= round; ++r) {
      all.clear();
      for (int32_t client = 0; client < 6; ++client) {
        all.push_back(assignment->plan({r}, client).experts);
      }
    }
    return all;
  };
  v1::ExpertAssignment answer = answer_of(9, 2, 1, 8);
  answer.set_choice(v1::ExpertAssignment::STATIC);
  CHECK((plans(answer, 1) == plans(answer, 4)));
  answer.set_choice(v1::ExpertAssignment::RANDOM);
  CHECK((plans(answer, 1) != plans(answer, 2)));
  CHECK((plans(answer, 2) == plans(answer, 2)));
  answer.set_homogeneous(true);
  for (const nn::ModuleExperts& own : plans(answer, 2)) CHECK(own.at(kQ).size() == 3);
}

TEST_CASE("embeddings are sent in every round but the last, and only where they choose") {
  test::FakeLearner learner;
  AssignmentInputs inputs = inputs_of(2, learner);
  inputs.last_round = 3;
  v1::ExpertAssignment answer = answer_of(2, 1, 1, 1);
  answer.set_noise_eta(50);
  const auto assignment = assign_experts(answer, inputs);
  CHECK(assignment->embeddings({1}, 0)->eta == 50);
  CHECK(assignment->embeddings({2}, 1)->client == 1);
  CHECK(!assignment->embeddings({3}, 0));
  answer.set_choice(v1::ExpertAssignment::RANDOM);
  CHECK(!assign_experts(answer, inputs)->embeddings({1}, 0));
}

// A module: scores 2 x 2 (2 x 1 + 4) = 24, drawn ones 2 x 2 x 4 = 16; two choices over 2 x 2 + 2
// arcs = 12.
TEST_CASE("the server chooses after every round but the last, and for static experts never") {
  test::FakeLearner learner;
  AssignmentInputs inputs = inputs_of(2, learner);
  inputs.last_round = 3;
  v1::ExpertAssignment answer = answer_of(2, 1, 1, 1);
  const auto flops = [&](int64_t round) {
    return assign_experts(answer, inputs)->choice_flops(round, 5);
  };
  CHECK(flops(1) == 5 * (24 + 12));
  CHECK(flops(2) == 5 * (24 + 12));
  CHECK(flops(3) == 0);
  answer.set_choice(v1::ExpertAssignment::RANDOM);
  CHECK(flops(2) == 5 * (16 + 12));
  CHECK(flops(3) == 0);
  answer.set_choice(v1::ExpertAssignment::STATIC);
  CHECK(flops(1) == 0);
}

// ------------------------------------------------------------------------------ what they cost

learning::Share share_with(int32_t experts) {
  learning::Share share = test::share_of(2);
  for (int64_t layer = 0; layer < 2; ++layer) {
    for (const nn::Target target : {nn::Target::kQ, nn::Target::kV, nn::Target::kDown}) {
      for (int32_t i = 0; i < experts; ++i) share.experts[{layer, target}].push_back(i);
    }
  }
  return share;
}

// The tiny model (traffic_test.cpp): a module's pair has r (in + out) elements, its router r in;
// rank 4, q and v 32 -> 32, down 128 -> 32, two layers.
TEST_CASE("a client with more experts sends more and takes longer, by the formula") {
  const Workload work = test::timed_workload();
  const int64_t pair = 4 * (64 + 64 + 160), router = 4 * (32 + 32 + 128);
  for (const int32_t n : {2, 8}) {
    CHECK(work.elements(share_with(n)) - work.elements(share_with(0)) == 2 * (n * pair + router));
  }
  CHECK(work.bytes(share_with(8)) > work.bytes(share_with(2)) + 4 * 2 * 6 * pair);
  // Embeddings: n + 1 of rank 4 in each of six modules, and their entries in the header.
  const int64_t added = work.embedding_bytes(share_with(8));
  CHECK(added > 4 * 6 * 9 * 4);
  CHECK(added < 4 * 6 * 9 * 4 + 6 * 120);
  // A header is padded to a multiple of 8.
  const int64_t more = added - work.embedding_bytes(share_with(2));
  CHECK(more >= 4 * 6 * 6 * 4 - 8);
  // T tokens of a step: six experts more cost 2 T r (6 in + 6) forward and twice that backward, but
  // for the lowest maps, whose input has no gradient; the chosen B are as many.
  const cost::Machine machine = test::board().machine;
  const auto& spec = work.spec();
  const auto tokens = static_cast<double>(spec.batch_rows * spec.sequence_tokens);
  const double low = 2 * tokens * 4 * 6, scores = 2 * tokens * 4 * 6;
  const double forward = 2 * (low * (32 + 32 + 128) + 3 * scores);
  const double backward = 2 * forward - low * (32 + 32);
  cost::Machine busy = machine;  // no memory traffic in the way
  busy.memory_bandwidth_bytes_s = 1e18;
  const double longer_s =
      work.step_seconds(busy, share_with(8)) - work.step_seconds(busy, share_with(2));
  CHECK(longer_s == Approx((forward + backward) / (0.5e12 * 0.4)).epsilon(1e-9));
  CHECK(work.memory(share_with(8)).total() > work.memory(share_with(2)).total());
  CHECK(work.inference_flops(machine, share_with(2), 0) == 0);
  const auto rows = [&](int64_t count) {
    return work.inference_flops(machine, share_with(2), count);
  };
  CHECK(rows(2 * spec.batch_rows) == 2 * rows(spec.batch_rows));
  CHECK(rows(spec.batch_rows + 1) == rows(spec.batch_rows) + rows(1));
  CHECK(rows(1) < rows(spec.batch_rows) / 2);
}

TEST_CASE("experts in a run: every client pays for its own, and not for those of others") {
  const v1::Result result = test::result_of(
      {"method=fedamole", "federation.selection={all:{}}",
       "federation.assignment={experts:{experts:9 choices:2 min_experts:1 max_experts:6 "
       "choice:RANDOM}}"});
  test::check_conserved(result);
  const Workload work = test::timed_workload();
  REQUIRE(result.rounds_size() == 4);
  int different = 0;
  for (const v1::Round& round : result.rounds()) {
    int64_t places = 0;
    for (const v1::ClientRound& client : round.clients()) {
      CHECK(client.experts() >= 6);
      CHECK(client.bytes_down() == client.bytes_up());
      // Between the same with the fewest and the most experts in every module.
      CHECK(client.bytes_down() > work.bytes(share_with(0)));
      CHECK(client.bytes_down() <= work.bytes(share_with(9)));
      different += client.experts() != round.clients(0).experts();
      places += client.experts();
    }
    if (round.round() > 0) CHECK(places == 9 * 2 * 6);
  }
  CHECK(different > 0);
}

}  // namespace
}  // namespace fedclock::federation
