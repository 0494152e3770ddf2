// What each client tunes: by capacity, by Fisher score, by group; against hand arithmetic.
#include "sim/federation/assignment/assignment.h"

#include <catch2/catch.hpp>

#include <cmath>

#include "sim/scenario/load.h"
#include "tests/sim/federation/fake_learner.h"

namespace fedclock::federation {
namespace {

using Ranks = std::vector<int64_t>;

v1::CapacityAssignment capacity(const std::vector<double>& depths, const std::vector<int>& ranks) {
  v1::CapacityAssignment answer;
  for (const double share : depths) answer.add_depth_shares(share);
  for (const int rank : ranks) answer.add_ranks(rank);
  return answer;
}

v1::Assignment of(const v1::CapacityAssignment& answer) {
  v1::Assignment assignment;
  *assignment.mutable_capacity() = answer;
  return assignment;
}

// So many layers, rank 4 where nothing else is said; clients of these seconds a step.
AssignmentInputs inputs(int64_t layers, const std::vector<double>& step_s) {
  AssignmentInputs inputs;
  inputs.layers = layers;
  inputs.rank = 4;
  inputs.full_depth_step_s = step_s;
  inputs.seed = 1;
  return inputs;
}

TEST_CASE("levels: places of unequal speeds are shared out evenly, the slowest first") {
  using Levels = std::vector<size_t>;
  CHECK(levels_by_capacity({3, 2, 1}, 3) == Levels{0, 1, 2});
  CHECK(levels_by_capacity({1, 2, 3, 2}, 3) == Levels{2, 1, 0, 1});  // equal ones are one place
  // Kind i of k has level i (levels - 1) / (k - 1), to the nearest, halves down.
  CHECK(levels_by_capacity({6, 5, 4, 3, 2, 1}, 3) == Levels{0, 0, 1, 1, 2, 2});
  CHECK(levels_by_capacity({5, 4, 3, 2, 1}, 3) == Levels{0, 0, 1, 1, 2});
  CHECK(levels_by_capacity({4, 3, 2, 1}, 3) == Levels{0, 1, 1, 2});  // 0, 0.67, 1.33, 2
  CHECK(levels_by_capacity({2, 1}, 3) == Levels{0, 2});
  CHECK(levels_by_capacity({1, 1}, 3) == Levels{2, 2});
  CHECK(levels_by_capacity({3, 2, 1}, 1) == Levels{0, 0, 0});
}

TEST_CASE("shares of layers are rounded up, and are one layer at least") {
  CHECK(layers_of(0.5, 12) == 6);
  CHECK(layers_of(0.51, 12) == 7);
  CHECK(layers_of(0.75, 2) == 2);
  CHECK(layers_of(0.7, 10) == 7);  // 7.000000000000001 or less
  CHECK(layers_of(0.001, 12) == 1);
  CHECK(layers_of(1, 12) == 12);
}

TEST_CASE("the last layers of ranks, and what memory holds of a depth") {
  CHECK(last_of({1, 2, 3}, 2) == Ranks{0, 2, 3});
  CHECK(last_of({1, 2, 3}, 0) == Ranks{0, 0, 0});
  CHECK(held_by_memory({3, -1}, 0, 2) == 2);
  CHECK(held_by_memory({1, -1}, 0, 2) == 1);
  CHECK(held_by_memory({1, -1}, 1, 2) == -1);
  CHECK(held_by_memory({1, -1}, 2, 2) == 2);  // not named: it holds all
}

TEST_CASE("ranks of the state that everyone starts from") {
  v1::Assignment uniform;
  uniform.mutable_uniform();
  CHECK(global_ranks(uniform, 3, 4) == Ranks{4, 4, 4});
  uniform.mutable_uniform()->set_depth(2);
  CHECK(global_ranks(uniform, 3, 4) == Ranks{0, 4, 4});
  uniform.mutable_uniform()->set_rank(6);
  CHECK(global_ranks(uniform, 3, 4) == Ranks{0, 6, 6});
  uniform.mutable_uniform()->set_depth(0);
  CHECK(global_ranks(uniform, 3, 4) == Ranks{0, 0, 0});
  CHECK(global_ranks(of(capacity({}, {})), 3, 4) == Ranks{4, 4, 4});
  CHECK(global_ranks(of(capacity({}, {8, 2})), 3, 4) == Ranks{8, 8, 8});
  CHECK(global_ranks(of(capacity({0.3, 0.6}, {})), 4, 4) == Ranks{0, 4, 4, 4});  // 2.4, up
  v1::CapacityAssignment rising = capacity({0.5, 0.75}, {});
  rising.set_lowest_rank(2);
  rising.set_highest_rank(11);
  // 2, 5, 8, 11 in a straight line, of which the last 3.
  CHECK(global_ranks(of(rising), 4, 4) == Ranks{0, 5, 8, 11});
  rising.clear_depth_shares();
  rising.set_highest_rank(4);  // 2, 2.67, 3.33, 4
  CHECK(global_ranks(of(rising), 4, 4) == Ranks{2, 3, 3, 4});
  CHECK(global_ranks(of(rising), 1, 4) == Ranks{2});  // a single layer is the lowest
  v1::Assignment joint;
  joint.mutable_joint();
  CHECK(global_ranks(joint, 3, 4) == Ranks{4, 4, 4});
  joint.mutable_joint()->set_fixed_depth(1);
  CHECK(global_ranks(joint, 3, 4) == Ranks{0, 0, 4});
}

TEST_CASE("capacity: depth and rank of each client's level") {
  // Four layers; three kinds of clients: levels 0, 1, 2 of depth; 0, 0, 1 of rank.
  const auto assignment =
      make_assignment(of(capacity({0.25, 0.5, 1}, {2, 8})), inputs(4, {3, 2, 1}));
  CHECK(assignment->plan({1}, 0) == Plan{{0, 0, 0, 2}, {2, 2, 2, 2}});
  CHECK(assignment->plan({1}, 1) == Plan{{0, 0, 2, 2}, {2, 2, 2, 2}});
  CHECK(assignment->plan({1}, 2) == Plan{{8, 8, 8, 8}, {8, 8, 8, 8}});
  CHECK(assignment->plan({9}, 0) == assignment->plan({1}, 0));
  CHECK(assignment->plan({1}, 1).depth() == 2);
  CHECK(assignment->plan({1}, 2).rank() == 8);
  CHECK(assignment->frequencies(1).empty());
}

TEST_CASE("capacity: memory and what is sent besides") {
  v1::CapacityAssignment answer = capacity({0.5, 0.75}, {});
  answer.set_lowest_rank(2);
  answer.set_highest_rank(11);
  AssignmentInputs in = inputs(4, {2, 2, 2, 1});
  in.most_layers = {4, 1, -1, 0};
  const auto whole = make_assignment(of(answer), in);
  CHECK(whole->plan({1}, 0) == Plan{{0, 0, 8, 11}, {0, 5, 8, 11}});
  CHECK(whole->plan({1}, 1) == Plan{{0, 0, 0, 11}, {0, 5, 8, 11}});
  CHECK((whole->takes_part(0) && whole->takes_part(1)));
  CHECK((!whole->takes_part(2) && !whole->takes_part(3)));  // not one layer
  answer.set_whole_download(false);
  const auto own = make_assignment(of(answer), in);
  CHECK(own->plan({1}, 0) == Plan{{0, 0, 8, 11}, {0, 0, 8, 11}});
  CHECK(own->plan({1}, 1) == Plan{{0, 0, 0, 11}, {0, 0, 0, 11}});
}

TEST_CASE("uniform: memory shrinks the depth, or leaves out") {
  v1::Assignment answer;
  answer.mutable_uniform()->set_when_too_large(v1::UniformAssignment::SHRINK_DEPTH);
  AssignmentInputs in = inputs(3, {1, 1, 1});
  in.most_layers = {3, 1, -1};
  const auto shrunk = make_assignment(answer, in);
  CHECK(shrunk->plan({1}, 0) == Plan{{4, 4, 4}, {4, 4, 4}});
  CHECK(shrunk->plan({1}, 1) == Plan{{0, 0, 4}, {4, 4, 4}});
  CHECK((shrunk->takes_part(0) && shrunk->takes_part(1) && !shrunk->takes_part(2)));
  answer.mutable_uniform()->set_when_too_large(v1::UniformAssignment::LEAVE_OUT);
  const auto left = make_assignment(answer, in);
  CHECK((left->takes_part(0) && !left->takes_part(1) && !left->takes_part(2)));
}

// Fisher scores of layers as a client saw them, where it tuned these.
class Scored {
 public:
  Scored(double share, int64_t layers, const std::vector<double>& step_s,
         const std::vector<int64_t>& most_layers = {}) {
    v1::Assignment answer;
    answer.mutable_fisher()->add_layer_shares(share);
    AssignmentInputs in = inputs(layers, step_s);
    in.learner = &learner_;
    in.most_layers = most_layers;
    fisher_ = make_assignment(answer, std::move(in));
  }
  void observe(int64_t round, int32_t client, const Ranks& tuned,
               const std::vector<double>& scores) {
    learning::TrainingNumbers numbers;
    numbers.layer_fisher = scores;
    Observation seen;
    seen.occasion = {round};
    seen.client = client;
    seen.plan = {tuned, tuned};
    seen.update = learner_.update(numbers);
    fisher_->observe(seen);
  }
  // How often each layer is tuned in so many rounds.
  std::vector<double> times(int64_t from_round, int64_t rounds, int32_t client = 0) {
    std::vector<double> times;
    for (int64_t round = from_round; round < from_round + rounds; ++round) {
      const Plan plan = fisher_->plan({round}, client);
      times.resize(plan.tuned.size());
      for (size_t layer = 0; layer < times.size(); ++layer) times[layer] += plan.tuned[layer] > 0;
    }
    return times;
  }
  Assignment& operator*() { return *fisher_; }

 private:
  test::FakeLearner learner_;
  std::unique_ptr<Assignment> fisher_;
};

// 12,000 draws: standard deviation sqrt(12000 p (1 - p)), five of them.
void check_shares(const std::vector<double>& times, const std::vector<double>& shares) {
  REQUIRE(times.size() == shares.size());
  for (size_t layer = 0; layer < shares.size(); ++layer) {
    const double p = shares[layer];
    CAPTURE(layer, times[layer], p);
    CHECK(std::abs(times[layer] - 12000 * p) <= 5 * std::sqrt(12000 * p * (1 - p)));
  }
}

TEST_CASE("Fisher: one layer of four, in proportion to the scores; the mean for the unknown") {
  Scored scored(0.25, 4, {1});
  // Nobody has tuned anything: all alike.
  check_shares(scored.times(1, 12000), {0.25, 0.25, 0.25, 0.25});
  // 1, 2, 6, and the mean of these, 3, where the fourth was not tuned, whatever it says.
  scored.observe(12001, 0, {4, 4, 4, 0}, {1, 2, 6, 99});
  check_shares(scored.times(12002, 12000), {1 / 12.0, 2 / 12.0, 6 / 12.0, 3 / 12.0});
}

TEST_CASE("Fisher: the mean over those who tuned a layer last; rounds before do not count") {
  Scored scored(0.25, 4, {1, 1, 1});
  scored.observe(1, 0, {4, 4, 4, 4}, {70, 70, 5, 70});
  scored.observe(2, 1, {4, 0, 0, 4}, {1, 70, 70, 2});
  scored.observe(2, 2, {4, 4, 0, 0}, {3, 8, 70, 70});
  // What comes late says nothing of layers that were tuned since.
  scored.observe(1, 1, {4, 0, 0, 0}, {1000, 0, 0, 0});
  // (1 + 3) / 2, 8, 5, 2: of 17.
  check_shares(scored.times(3, 12000), {2 / 17.0, 8 / 17.0, 5 / 17.0, 2 / 17.0});
}

TEST_CASE("Fisher: what the server has seen when the round begins, and not later") {
  Scored scored(0.25, 2, {1, 1});
  scored.observe(1, 0, {4, 4}, {1, 0});
  CHECK((*scored).plan({2}, 0).tuned == Ranks{4, 0});
  scored.observe(2, 0, {4, 4}, {0, 1});  // in round 2
  CHECK((*scored).plan({2}, 1).tuned == Ranks{4, 0});
  CHECK((*scored).plan({3}, 0).tuned == Ranks{0, 4});
}

TEST_CASE("Fisher: without repetition, and from what memory holds") {
  Scored scored(0.5, 4, {1, 1, 1}, {4, 3, -1});
  scored.observe(1, 0, {4, 4, 4, 4}, {0, 1, 1, 2});
  // Two of 1, 1, 2: the first is the last layer with 1/2, else the second with 2/3: 5/6; the others
  // share the rest, 7/12 each. The first layer has no gradient.
  check_shares(scored.times(2, 12000, 0), {0, 7 / 12.0, 7 / 12.0, 10 / 12.0});
  Scored small(1, 4, {1, 1, 1}, {4, 2, -1});
  CHECK(small.times(1, 100, 1) == std::vector<double>{0, 0, 100, 100});
  CHECK((*small).plan({1}, 1).held == Ranks{4, 4, 4, 4});
  CHECK((*small).takes_part(1));
  CHECK(!(*small).takes_part(2));
}

// Two groups of one client each, two layers, no head; R_0(d) = d, R_1(d) = 4 d seconds.
class Planned {
 public:
  explicit Planned(const std::string& fields, std::vector<int64_t> most_layers = {}) {
    v1::Assignment answer;
    v1::JointAssignment& joint = *answer.mutable_joint();
    joint.set_most_frequency(4);
    joint.set_smoothing(1);  // the last observation counts
    if (fields == "fixed depth") joint.set_fixed_depth(1);
    if (fields == "own download") joint.set_whole_download(false);
    if (fields == "fixed frequency") joint.set_fixed_frequency(3);
    AssignmentInputs in = inputs(2, {1, 4});
    in.learner = &learner_;
    in.most_layers = std::move(most_layers);
    in.training_s = [](int32_t client, int64_t depth) {
      return static_cast<double>((client == 0 ? 1 : 4) * depth);
    };
    in.bytes_down = in.bytes_up = [](int64_t) { return 0; };
    joint_ = make_assignment(answer, std::move(in));
    joint_->group({{{0}, 10}, {{1}, 10}});
  }
  void observe(const Occasion& occasion, int32_t client, double train_s,
               const std::vector<double>& layer_updates, double mean_loss = 1) {
    learning::TrainingNumbers numbers;
    numbers.layer_updates = layer_updates;
    numbers.mean_loss = mean_loss;
    Observation seen;
    seen.occasion = occasion;
    seen.client = client;
    seen.rows = 10;
    seen.plan = {{4, 4}, {4, 4}};
    seen.train_s = train_s;
    seen.update = learner_.update(numbers);
    joint_->observe(seen);
  }
  // t and d of both groups.
  std::vector<int64_t> chosen(int64_t round) {
    const std::vector<int32_t> t = joint_->frequencies(round);
    return {t.at(0), joint_->plan({round}, 0).depth(), t.at(1), joint_->plan({round}, 1).depth()};
  }
  Assignment& operator*() { return *joint_; }

 private:
  test::FakeLearner learner_;
  std::unique_ptr<Assignment> joint_;
};

using Chosen = std::vector<int64_t>;

TEST_CASE("joint: before anything is known") {
  // v(1) = 1/2, v(2) = 1; phi = 1, 1.9, 2.71, 3.439. With T = 4 group 1 has (t 1, d 1), 1/2, and
  // group 0 within 3.2 to 4 s (2, 2), 1.9, or (4, 1), 1.72: together 2.4 / 4 = 0.6 (halved for the
  // rows). T = 8: 1 + 3.439 of (4, 2) = 4.439 / 8 = 0.55; T = 12: (1.355 + 3.439) / 12 = 0.40.
  Planned planned("");
  CHECK(planned.chosen(1) == Chosen{2, 2, 1, 1});
  CHECK((*planned).plan({1}, 1) == Plan{{0, 4}, {4, 4}});
}

TEST_CASE("joint: observed times change the plan") {
  // Client 1 is as quick as client 0: R(d) = d for both. T = 1: 1/2 + 1/2; T = 2: (1 + 1) / 2, the
  // same, and the smallest T is taken.
  Planned planned("");
  CHECK(planned.chosen(1) == Chosen{2, 2, 1, 1});
  planned.observe({1, 0, 0}, 0, 2, {1, 1});
  planned.observe({1, 0, 1}, 1, 2, {1, 1});  // 8 s were expected of two layers
  CHECK(planned.chosen(2) == Chosen{1, 1, 1, 1});
}

TEST_CASE("joint: observed update norms change the plan") {
  // With times as above, the lower layer has nine tenths of the norm: v(1) = 0.1. T = 1: 0.2 / 1;
  // T = 2: 2 / 2.
  Planned low("");
  low.chosen(1);
  low.observe({1, 0, 0}, 0, 2, {9, 1});
  low.observe({1, 0, 1}, 1, 2, {9, 1});
  CHECK(low.chosen(2) == Chosen{1, 2, 1, 2});
  // The upper one has: v(1) = 0.9. T = 1: 1.8.
  Planned high("");
  high.chosen(1);
  high.observe({1, 0, 0}, 0, 2, {1, 9});
  high.observe({1, 0, 1}, 1, 2, {1, 9});
  CHECK(high.chosen(2) == Chosen{1, 1, 1, 1});
}

TEST_CASE("joint: losses of a group's rounds change what further rounds are worth") {
  // v(1) = 0.7. T = 4: group 1 has 0.7; group 0 has (4, 1) with 0.7 phi(4) or (2, 2) with phi(2).
  // At rho = 0.9: 2.407 against 1.9. At 0.5: 0.7 x 1.875 = 1.3125 against 1.5. Losses 4, 3, 2.5
  // fall by 1 and 0.5: rho = 0.5.
  for (const bool falls : {false, true}) {
    Planned planned("");
    planned.chosen(1);
    for (int64_t part = 0; part < 3; ++part) {
      const std::vector<double> losses = {4, 3, 2.5};
      planned.observe({1, part, 0}, 0, 2, {3, 7}, falls ? losses[part] : 4);
    }
    planned.observe({1, 0, 1}, 1, 8, {3, 7});
    CAPTURE(falls);
    // Other T: 1 is too short for group 1; T = 8 has (1 + 3.439) / 8 = 0.55 and (1 + 1.875) / 8 =
    // 0.36, T = 4 3.107 / 4 = 0.78 and 2.2 / 4 = 0.55.
    CHECK(planned.chosen(2) == (falls ? Chosen{2, 2, 1, 1} : Chosen{4, 1, 1, 1}));
  }
}

TEST_CASE("joint: memory, and what is fixed") {
  // Client 0 holds one layer: T = 4: 0.5 + (4, 1) with 1.72 = 2.22.
  Planned small("", {1, 2});
  CHECK(small.chosen(1) == Chosen{4, 1, 1, 1});
  CHECK((*small).takes_part(0));
  Planned none("", {0, 2});
  CHECK(!(*none).takes_part(0));
  // Depth 1 for all: the same; and nobody is sent a layer that nobody tunes.
  Planned depth("fixed depth");
  CHECK(depth.chosen(1) == Chosen{4, 1, 1, 1});
  CHECK((*depth).plan({1}, 0) == Plan{{0, 4}, {0, 4}});
  // Three rounds for all: T = 12: group 1 0.5, group 0 at most 6 s, depth 2: 1.5 / 12; T = 24:
  // 2 / 24.
  Planned frequency("fixed frequency");
  CHECK(frequency.chosen(1) == Chosen{3, 2, 3, 1});
  Planned own("own download");
  own.chosen(1);
  CHECK((*own).plan({1}, 1) == Plan{{0, 4}, {0, 4}});
}

TEST_CASE(
    "joint: what a global round takes beyond the plan makes more rounds of one's own worth it") {
  // Both groups at R(d) = d, v(1) = 0.5: at c = 0 one round of one layer, T = 1. The first round
  // has not seen a transfer and says nothing; the second takes 11 s. With c = 10, T = 8 and all of
  // four rounds of two layers have 2 x 3.439 / 18 = 0.38, T = 6 2 x 2.71 / 16 = 0.34, T = 2 2 / 12.
  Planned planned("");
  planned.chosen(1);
  planned.observe({1, 0, 0}, 0, 2, {1, 1});
  planned.observe({1, 0, 1}, 1, 2, {1, 1});
  (*planned).observe_round(99);
  CHECK(planned.chosen(2) == Chosen{1, 1, 1, 1});
  (*planned).observe_round(11);
  CHECK(planned.chosen(3) == Chosen{4, 2, 4, 2});
  // As planned, or faster: c falls, by the weight of a new observation.
  for (int round = 4; round < 40; ++round) {
    (*planned).observe_round(0.5);
    planned.chosen(round);
  }
  CHECK(planned.chosen(40) == Chosen{1, 1, 1, 1});
}

}  // namespace
}  // namespace fedclock::federation
