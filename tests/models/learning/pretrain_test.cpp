#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/learning/pretrain.h"
#include "tests/models/learning/tiny.h"

namespace fedclock::learning {
namespace {

PretrainSettings settings_of(int64_t steps) {
  PretrainSettings settings;
  settings.steps = steps;
  settings.batch_rows = 10;  // shards of 3, 3, 2 and 2
  settings.sequence_tokens = 20;
  settings.learning_rate = 0.01;
  settings.mask_fraction = 0.2;
  return settings;
}

struct Pretrained {
  nn::TensorMap weights;
  std::vector<double> losses;
};

Pretrained pretrained(nn::Kind kind, const PretrainSettings& settings, int workers) {
  const Base base = tiny_base(kind);
  Pretrained result;
  result.weights = pretrain(base.architecture, *base.tokenizer, tiny_texts(60), settings, workers,
                            [&](const PretrainProgress& progress) {
                              result.losses.push_back(progress.loss);
                              CHECK(progress.step == static_cast<int64_t>(result.losses.size()));
                              CHECK(progress.steps == settings.steps);
                            });
  return result;
}

double mean_of(const std::vector<double>& values, size_t begin, size_t end) {
  return std::accumulate(values.begin() + static_cast<int64_t>(begin),
                         values.begin() + static_cast<int64_t>(end), 0.0) /
         static_cast<double>(end - begin);
}

TEST_CASE("pretraining: going on from a checkpoint gives the same bits") {
  const nn::Kind kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  const Base base = tiny_base(kind);
  std::vector<nn::TensorMap> saved;
  int64_t steps = 0;
  const auto train = [&](const PretrainCheckpoints& checkpoints) {
    steps = 0;
    return pretrain(
        base.architecture, *base.tokenizer, tiny_texts(60), settings_of(7), 2,
        [&](const PretrainProgress&) { ++steps; }, checkpoints);
  };
  const nn::TensorMap whole = train({});
  const auto keep = [&](const nn::TensorMap& tensors) {
    saved.emplace_back();
    for (const auto& [name, tensor] : tensors) saved.back()[name] = tensor.clone();
  };
  CHECK(same(train({.every_steps = 3, .load = {}, .save = keep}), whole));
  REQUIRE(saved.size() == 2);  // after 3 and 6 of 7 steps
  for (const int64_t done : {3, 6}) {
    const nn::TensorMap from = saved.at(done / 3 - 1);
    CHECK(same(train({.every_steps = 100, .load = [&] { return from; }, .save = {}}), whole));
    CHECK(steps == 7 - done);
  }
}

TEST_CASE("pretraining: the same bits with 1, 2 and 3 workers") {
  const nn::Kind kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  const Pretrained one = pretrained(kind, settings_of(6), 1);
  for (int workers : {2, 3}) {
    const Pretrained more = pretrained(kind, settings_of(6), workers);
    CHECK(same(one.weights, more.weights));
    CHECK(one.losses == more.losses);
  }
  PretrainSettings other = settings_of(6);
  other.seed = 2;
  CHECK_FALSE(same(one.weights, pretrained(kind, other, 2).weights));
}

TEST_CASE("pretraining: the loss falls from that of a guess") {
  const nn::Kind kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  const Pretrained result = pretrained(kind, settings_of(80), 2);
  REQUIRE(result.losses.size() == 80);
  // At first all of the 300 tokens are about equally likely.
  CHECK(result.losses.front() == Approx(std::log(300.0)).margin(0.3));
  CHECK(mean_of(result.losses, 70, 80) < 0.5 * result.losses.front());
}

TEST_CASE("pretraining: gives every parameter of the architecture, and each has moved") {
  const nn::Kind kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  const nn::Architecture architecture = tiny_base(kind).architecture;
  const Pretrained result = pretrained(kind, settings_of(3), 1);
  const nn::TensorMap start = nn::random_weights(architecture, 1);
  const auto parameters = nn::parameter_shapes(architecture);
  CHECK(result.weights.size() == parameters.size());
  for (const auto& parameter : parameters) {
    INFO(parameter.name);
    REQUIRE(result.weights.contains(parameter.name));
    const at::Tensor& tensor = result.weights.at(parameter.name);
    CHECK(tensor.sizes() == at::IntArrayRef(parameter.shape));
    CHECK_FALSE(tensor.requires_grad());
    CHECK_FALSE(at::equal(tensor, start.at(parameter.name)));
    CHECK(at::isfinite(tensor).all().item<bool>());
  }
}

TEST_CASE("pretraining: a decoder learns what comes next, not what it is shown") {
  // After enough steps, the word after "cats" is a verb. If a token could see itself or what
  // follows, the loss would fall to 0; but three choices of 4, 4 and 3 words for each 5 tokens or
  // more leave at least ln(48) a sentence.
  const Pretrained result = pretrained(nn::Kind::kDecoder, settings_of(80), 2);
  const Base base = tiny_base(nn::Kind::kDecoder);
  const auto sentence = base.tokenizer->encode("cats eat mice . ");
  const double least = std::log(48.0) / static_cast<double>(sentence.size() * 3);
  CHECK(mean_of(result.losses, 70, 80) > least);
}

TEST_CASE("pretraining: fewer rows than shards, and too little text") {
  PretrainSettings settings = settings_of(2);
  settings.batch_rows = 2;  // two of the four shards are empty
  const nn::Kind kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  const Pretrained result = pretrained(kind, settings, 2);
  CHECK(std::isfinite(result.losses.back()));
  CHECK(result.losses.back() > 0);
  const Base base = tiny_base(kind);
  CHECK_THROWS_AS(
      pretrain(base.architecture, *base.tokenizer, {"cats eat mice"}, settings, 1, nullptr),
      InputError);
  // Nobody has to listen.
  CHECK_NOTHROW(pretrain(base.architecture, *base.tokenizer, tiny_texts(60), settings, 1, nullptr));
}

// --- word vectors --------------------------------------------------------------------------------

double cosine(const at::Tensor& vectors, int64_t a, int64_t b) {
  return at::dot(vectors[a], vectors[b]).item<double>() /
         (vectors[a].norm().item<double>() * vectors[b].norm().item<double>());
}

// Sentences `subject verb object filler filler` of two topics that share fillers: in topic 0 the
// words 0 and 1, 2 and 3, 4 and 5 can stand for each other, in topic 1 the words 6 and 7, 8 and 9,
// 10 and 11. Fillers: 12 to 19.
std::vector<int32_t> two_topics(int64_t sentences) {
  Random random(3, "test: two topics");
  std::vector<int32_t> stream;
  for (int64_t i = 0; i < sentences; ++i) {
    const auto topic = static_cast<int32_t>(6 * random.below(2));
    for (int32_t place = 0; place < 3; ++place) {
      stream.push_back(topic + 2 * place + static_cast<int32_t>(random.below(2)));
    }
    for (int filler = 0; filler < 4; ++filler) {
      stream.push_back(12 + static_cast<int32_t>(random.below(8)));
    }
  }
  return stream;
}

TEST_CASE("co-occurrence: words of the same contexts end close together") {
  const at::Tensor vectors = cooccurrence_embeddings(two_topics(4000), 20, 6, 1);
  REQUIRE(vectors.sizes() == at::IntArrayRef({20, 6}));
  CHECK(vectors.pow(2).mean().sqrt().item<double>() == Approx(0.05).epsilon(1e-4));
  for (int64_t word = 0; word < 12; word += 2) {
    INFO("words " << word << " and " << word + 1);
    const double twins = cosine(vectors, word, word + 1);
    CHECK(twins > 0.9);
    for (int64_t other = 0; other < 12; ++other) {
      if (other / 6 == word / 6) continue;  // of the other topic
      CHECK(cosine(vectors, word, other) < twins - 0.3);
    }
  }
}

TEST_CASE("co-occurrence: twice the same, also at full width") {
  const auto stream = two_topics(500);
  const at::Tensor once = cooccurrence_embeddings(stream, 20, 6, 1);
  CHECK(at::equal(once, cooccurrence_embeddings(stream, 20, 6, 1)));
  const at::Tensor full = cooccurrence_embeddings(stream, 20, 20, 1);
  CHECK(full.sizes() == at::IntArrayRef({20, 20}));
  CHECK(at::isfinite(full).all().item<bool>());
  // A token that never occurs has no vector; nor is it a reason to fail.
  const at::Tensor wider = cooccurrence_embeddings(stream, 24, 6, 1);
  CHECK(wider.narrow(0, 20, 4).abs().max().item<double>() < 1e-6);
}

TEST_CASE("co-occurrence: three words by hand") {
  // The stream 0 1 2: all three pairs once, in both directions: n = 6, each word's total 2, so each
  // pair's information is ln(1 x 6 / (2 x 2)) = ln 1.5. M = ln 1.5 (J - I) has the eigenvalues
  // 2 ln 1.5 (for 1 1 1) and -ln 1.5 twice. One column: (1 1 1) / sqrt 3 scaled to an rms of 0.05.
  const at::Tensor vectors = cooccurrence_embeddings({0, 1, 2}, 3, 1, 1);
  const double sign = vectors[0][0].item<double>() > 0 ? 1 : -1;
  for (int64_t i = 0; i < 3; ++i) {
    CHECK(sign * vectors[i][0].item<double>() == Approx(0.05).epsilon(1e-4));
  }
  // All three: singular values 2, 1, 1 (times ln 1.5), so U S U' = 2/3 J' + (I - J') with J' = J/3:
  // the vectors' products are 4/3 on the diagonal and 1/3 beside it, up to scale: cosine 1/4.
  const at::Tensor all = cooccurrence_embeddings({0, 1, 2}, 3, 3, 1);
  CHECK(cosine(all, 0, 1) == Approx(0.25).epsilon(1e-3));
  CHECK(cosine(all, 1, 2) == Approx(0.25).epsilon(1e-3));
}

TEST_CASE("pretraining: may start from word vectors") {
  PretrainSettings settings = settings_of(0);
  settings.cooccurrence_embeddings = true;
  const Pretrained result = pretrained(nn::Kind::kEncoder, settings, 1);
  const at::Tensor& embeddings = result.weights.at("embeddings.token");
  CHECK(embeddings.pow(2).mean().sqrt().item<double>() == Approx(0.05).epsilon(1e-4));
  // No step was made: the rest is random weights.
  const nn::TensorMap start = nn::random_weights(tiny_base(nn::Kind::kEncoder).architecture, 1);
  CHECK(at::equal(result.weights.at("layers.0.q.weight"), start.at("layers.0.q.weight")));
}

}  // namespace
}  // namespace fedclock::learning
