// States with experts: their shares, their means, their training and their embeddings.
#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>

#include "models/common/random.h"
#include "models/learning/adapter_names.h"
#include "models/learning/batch_gradients.h"
#include "models/learning/reference.h"
#include "models/nn/adapters.h"
#include "tests/models/learning/states.h"
#include "tests/models/learning/tiny.h"

namespace fedclock::learning {
namespace {

constexpr nn::Module kQ0{0, nn::Target::kQ}, kV0{0, nn::Target::kV}, kQ1{1, nn::Target::kQ},
    kV1{1, nn::Target::kV};

Share share_of(const nn::ModuleExperts& experts) {
  Share share{.ranks = {2, 2}};
  share.experts = experts;
  return share;
}

TEST_CASE("experts: a tensor's name says whose it is") {
  const TensorName expert = parse_tensor_name("layers.13.down.expert.7.lora_b");
  CHECK(expert.kind == TensorKind::kB);
  CHECK((expert.module == nn::Module{13, nn::Target::kDown}));
  CHECK(expert.expert == 7);
  CHECK(expert.map == "layers.13.down.expert.7");
  const TensorName router = parse_tensor_name("layers.0.q.router");
  CHECK(router.kind == TensorKind::kRouter);
  CHECK((router.module == kQ0));
  CHECK(parse_tensor_name("layers.0.q.lora_a").expert == -1);
  CHECK(parse_tensor_name("head.weight").kind == TensorKind::kOther);
  CHECK_THROWS_AS(parse_tensor_name("layers.0.q.guest.7.lora_a"), ProgrammerError);
  CHECK_THROWS_AS(parse_tensor_name("layers.0.x.lora_a"), ProgrammerError);
}

TEST_CASE(
    "experts: a client's part of a state is its own experts, the shared one and its routers") {
  const LearningTask task = tiny_task(nn::Kind::kDecoder, true);
  const Share all = share_of({{kQ0, {0, 1, 2}}, {kV0, {0, 1, 2}}, {kQ1, {0, 1, 2}}});
  const nn::TensorMap state =
      nn::random_adapter(task.architecture(), task.adapter, all.ranks, 0, 1, all.experts);
  CHECK(state.size() == 4 * 2 + 9 * 2 + 3);
  const Share own = share_of({{kQ0, {2}}, {kQ1, {0, 1}}});
  const nn::TensorMap part = state_of(tailored(own), {&state});
  CHECK(names_in(part) ==
        std::vector<std::string>{
            "layers.0.q.expert.2.lora_a", "layers.0.q.expert.2.lora_b", "layers.0.q.lora_a",
            "layers.0.q.lora_b", "layers.0.q.router", "layers.0.v.lora_a", "layers.0.v.lora_b",
            "layers.1.q.expert.0.lora_a", "layers.1.q.expert.0.lora_b",
            "layers.1.q.expert.1.lora_a", "layers.1.q.expert.1.lora_b", "layers.1.q.lora_a",
            "layers.1.q.lora_b", "layers.1.q.router", "layers.1.v.lora_a", "layers.1.v.lora_b"});
  CHECK(same(part, state_of(only(own), {&state})));
  // An expert begins alike, whoever else is there.
  CHECK(same(part,
             nn::random_adapter(task.architecture(), task.adapter, own.ranks, 0, 1, own.experts)));
  Share both = own;
  both.widen(share_of({{kQ0, {0, 3}}, {kV1, {5}}}));
  const nn::ModuleExperts expected{{kQ0, {0, 2, 3}}, {kQ1, {0, 1}}, {kV1, {5}}};
  CHECK((both.experts == expected));
  CHECK(digest_of(only(own)) != digest_of(only(both)));
  CHECK(digest_of(only(own)) != digest_of(only(share_of({}))));
}

// Two clients: expert 0 held by both, expert 1 by the first, expert 2 by nobody; unweighted.
TEST_CASE("experts: each is averaged over its holders, routers over all") {
  const std::string q = "layers.0.q";
  const auto state = [&](const std::vector<std::pair<int32_t, float>>& experts, float router) {
    nn::TensorMap tensors{{nn::router_name(q), matrix(1, {router})}};
    for (const auto& [expert, value] : experts) {
      tensors[nn::expert_name(q, expert) + ".lora_a"] = matrix(1, {value});
      tensors[nn::expert_name(q, expert) + ".lora_b"] = matrix(1, {-value});
    }
    return tensors;
  };
  const nn::TensorMap global = state({{0, 100}, {1, 100}, {2, 7}}, 100);
  const nn::TensorMap first = state({{0, 1}, {1, 5}}, 2), second = state({{0, 3}}, 4);
  const nn::TensorMap merged = state_of(mean_of_holders({1, 1}), {&global, &first, &second});
  CHECK(same(merged, state({{0, 2}, {1, 5}, {2, 7}}, 3)));
}

LearningTask task_with_experts(nn::Kind kind) {
  LearningTask task = tiny_task(kind, kind == nn::Kind::kDecoder);
  task.adapter.top_experts = 2;
  return task;
}

nn::TensorMap trained_state(const LearningTask& task, const Share& share) {
  nn::TensorMap state = nn::random_adapter(task.architecture(), task.adapter, share.ranks,
                                           task.train->has_responses() ? 0 : 3, 1, share.experts);
  Random random(5, "test: trained experts");
  for (auto& [name, tensor] : state) {
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.data_ptr<float>()[i] += static_cast<float>(0.1 * random.normal());
    }
  }
  return state;
}

TEST_CASE("experts: trained alike by the fast path and by stock operators", "[native]") {
  for (const nn::Kind kind : {nn::Kind::kEncoder, nn::Kind::kDecoder}) {
    LearningTask task = task_with_experts(kind);
    const Share share = share_of({{kQ0, {0, 3, 4}}, {kQ1, {1, 3}}, {kV1, {0, 1, 2, 9}}});
    const nn::TensorMap start = trained_state(task, share);
    TrainJob job;
    job.rows = first_rows(20);
    job.settings = {.steps = 6, .batch_rows = 4, .optimizer = OptimizerKind::kSgd};
    job.trained = share;
    job.learning_rate = 0.1;
    job.load_balance = 0.05;
    const TrainResult fast = train(task, start, job);
    task.trunk = nullptr;
    const TrainResult stock = train(task, start, job);
    int64_t moved = 0;
    for (const auto& [name, tensor] : fast.tensors) {
      INFO(name);
      CHECK((tensor - stock.tensors.at(name)).abs().max().item<float>() < 2e-5);
      moved += !at::equal(tensor, start.at(name));
    }
    CHECK(moved == std::ssize(start));
    CHECK(fast.numbers.mean_loss == Approx(stock.numbers.mean_loss).epsilon(1e-5));
  }
}

TEST_CASE("experts: what a job does not train stays, and so do experts that it does not name") {
  const LearningTask task = task_with_experts(nn::Kind::kDecoder);
  const Share share = share_of({{kQ0, {0, 1}}, {kV1, {0, 2}}});
  const nn::TensorMap start = trained_state(task, share);
  TrainJob job;
  job.rows = first_rows(8);
  job.settings = {.steps = 2, .batch_rows = 4, .optimizer = OptimizerKind::kSgd};
  job.learning_rate = 0.1;
  job.trained = share_of({{kQ0, {1}}, {kV1, {0, 2}}});
  job.trained.routers = false;
  const TrainResult result = train(task, start, job);
  for (const auto& [name, tensor] : result.tensors) {
    INFO(name);
    const bool stays = name.starts_with("layers.0.q.expert.0.") || name.ends_with("router");
    CHECK(at::equal(tensor, start.at(name)) == stays);
  }
  // The balance pulls the routers' way of choosing, and so changes what is learnt.
  job.load_balance = 1;
  CHECK(!same(result.tensors, train(task, start, job).tensors));
}

// Of the first layer's q: its input is the normed embedding, so that e = A x and t = W_p x can be
// worked out by stock operators.
TEST_CASE("experts: mean embeddings over all tokens of the rows") {
  const LearningTask task = task_with_experts(nn::Kind::kDecoder);
  const Share share = share_of({{kQ0, {3, 12}}});
  const nn::TensorMap state = trained_state(task, share);
  const Rows rows = first_rows(3);
  const std::vector<double> means = apply(mean_embeddings(rows), {&state}, &task).numbers;
  REQUIRE(means.size() == 3 * 2);
  std::vector<at::Tensor> inputs;  // [tokens, width] of each row
  for (const int32_t row : *rows) {
    std::vector<int64_t> ids(task.train->rows[row].ids.begin(), task.train->rows[row].ids.end());
    const at::Tensor x =
        at::embedding(task.weights->at("embeddings.token"), at::tensor(ids)).to(at::kDouble);
    const at::Tensor scaled =
        x * at::rsqrt((x * x).mean(-1, true) + task.architecture().norm_epsilon);
    inputs.push_back(scaled * task.weights->at("layers.0.attention_norm.weight").to(at::kDouble));
  }
  const at::Tensor mean = at::cat(inputs, 0).mean(0);  // [width]
  size_t i = 0;
  for (const char* name : {"expert.3.lora_a", "expert.12.lora_a", "router"}) {
    const at::Tensor expected =
        at::mv(state.at(std::string("layers.0.q.") + name).to(at::kDouble), mean);
    for (int64_t k = 0; k < 2; ++k) {
      CHECK(means[i++] == Approx(expected[k].item<double>()).epsilon(1e-4).margin(1e-5));
    }
  }
}

TEST_CASE(
    "experts: noise on embeddings is the client's own, smaller with a larger eta, and bounded") {
  const LearningTask task = task_with_experts(nn::Kind::kDecoder);
  const nn::TensorMap state = trained_state(task, share_of({{kQ0, {3, 12}}, {kV1, {0}}}));
  const auto means = [&](double eta, int64_t client) {
    const EmbeddingNoise noise{.eta = eta, .seed = 1, .round = 2, .client = client};
    return apply(mean_embeddings(first_rows(4), noise), {&state}, &task).numbers;
  };
  const std::vector<double> clean = means(0, 0);
  const auto distance = [&](const std::vector<double>& noisy) {
    double sum = 0;
    for (size_t i = 0; i < clean.size(); ++i) sum += (noisy[i] - clean[i]) * (noisy[i] - clean[i]);
    return std::sqrt(sum);
  };
  CHECK(means(100, 1) == means(100, 1));
  CHECK(means(100, 1) != means(100, 2));
  CHECK(distance(means(1e9, 1)) < 1e-6);
  CHECK(distance(means(1e4, 1)) > 1e-6);
  // However much noise: no longer than the longest mean of one row.
  const std::vector<double> drowned = means(1e-6, 1);
  for (size_t e = 0; e < clean.size() / 2; ++e) {
    double longest = 0;
    for (int32_t row = 0; row < 4; ++row) {
      const auto one = std::make_shared<const std::vector<int32_t>>(1, row);
      const auto own = apply(mean_embeddings(one), {&state}, &task).numbers;
      longest = std::max(longest, std::hypot(own[2 * e], own[2 * e + 1]));
    }
    CHECK(std::hypot(drowned[2 * e], drowned[2 * e + 1]) == Approx(longest));
  }
}

}  // namespace
}  // namespace fedclock::learning
