#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "models/learning/base.h"
#include "tests/models/learning/tiny.h"
#include "tests/models/nn/folder.h"

namespace fedclock::learning {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;

PretrainedBaseSpec spec_of(nn::Kind kind) {
  PretrainedBaseSpec spec;
  spec.architecture = tiny_architecture(kind, 300);
  spec.settings.steps = 2;
  spec.settings.batch_rows = 4;
  spec.settings.sequence_tokens = 12;
  spec.tokenizer.vocabulary = 290;
  spec.numerics = "test";
  return spec;
}

// A call and what it told.
struct Call {
  Base base;
  int steps = 0;
  std::vector<std::string> stages;
};

Call call(const PretrainedBaseSpec& spec, const fs::path& cache,
          const std::vector<std::string>& texts = tiny_texts(30)) {
  Call result;
  const BaseReport report{[&](const std::string& stage) { result.stages.push_back(stage); },
                          [&](const PretrainProgress&) { ++result.steps; }};
  result.base = pretrained_base(spec, texts, cache, 2, report);
  return result;
}

// The one folder of the cache.
fs::path entry_of(const fs::path& cache) {
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(cache / "bases")) entries.push_back(entry.path());
  REQUIRE(entries.size() == 1);
  return entries.front();
}

TEST_CASE("pretrained base: the second call reads the cache") {
  const nn::Kind kind = GENERATE(nn::Kind::kEncoder, nn::Kind::kDecoder);
  const nn::Folder cache;
  const PretrainedBaseSpec spec = spec_of(kind);
  const Call first = call(spec, cache.path());
  CHECK(first.steps == 2);
  CHECK_FALSE(first.stages.empty());
  const Call second = call(spec, cache.path());
  CHECK(second.steps == 0);
  CHECK(second.stages.empty());
  CHECK(second.base.digest == first.base.digest);
  CHECK(second.base.origin == first.base.origin);
  CHECK(second.base.architecture == first.base.architecture);
  CHECK(second.base.architecture == spec.architecture);
  CHECK(same(*second.base.weights, *first.base.weights));
  CHECK(second.base.tokenizer->digest() == first.base.tokenizer->digest());
  CHECK(second.base.tokenizer->encode("cats eat mice") ==
        first.base.tokenizer->encode("cats eat mice"));
  CHECK(second.base.tokenizer->mask() == first.base.tokenizer->mask());
}

TEST_CASE("pretrained base: without a cache folder it is trained each time, to the same bits") {
  const nn::Folder cache;
  const Call kept = call(spec_of(nn::Kind::kEncoder), cache.path());
  for (int i = 0; i < 2; ++i) {
    const Call once = call(spec_of(nn::Kind::kEncoder), {});
    CHECK(once.steps == 2);
    CHECK(once.base.digest == kept.base.digest);
  }
}

TEST_CASE("pretrained base: another specification is another base") {
  const nn::Folder cache;
  const PretrainedBaseSpec plain = spec_of(nn::Kind::kEncoder);
  const Call first = call(plain, cache.path());
  std::vector<PretrainedBaseSpec> others(7, plain);
  others[0].settings.seed = 2;
  others[1].settings.learning_rate = 0.002;
  others[2].settings.cooccurrence_embeddings = true;
  others[3].architecture.ffn_width = 20;
  others[4].numerics = "other kernels";
  others[5].tokenizer.vocabulary = 280;
  others[6].tokenizer.kind = data::TokenizerKind::kWords;
  for (size_t i = 0; i < others.size(); ++i) {
    INFO("specification " << i);
    CHECK(call(others[i], cache.path()).steps == 2);
  }
  CHECK(call(plain, cache.path(), tiny_texts(31)).steps == 2);
  CHECK(call(plain, cache.path()).steps == 0);                            // still there
  CHECK(call(others[4], cache.path()).base.digest == first.base.digest);  // only named otherwise
}

TEST_CASE("pretrained base: a damaged entry is trained again") {
  const nn::Folder cache;
  const PretrainedBaseSpec spec = spec_of(nn::Kind::kEncoder);
  const Call first = call(spec, cache.path());
  const fs::path entry = entry_of(cache.path());

  SECTION("a byte of the weights is another one") {
    const fs::path file = entry / "model.safetensors";
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(-5, std::ios::end);
    const int byte = stream.get();
    stream.seekp(-5, std::ios::end);
    stream.put(static_cast<char>(byte ^ 1));
  }
  SECTION("the weights are cut") {
    fs::resize_file(entry / "model.safetensors", fs::file_size(entry / "model.safetensors") / 2);
  }
  SECTION("the weights are gone") { fs::remove(entry / "model.safetensors"); }
  SECTION("the configuration is no JSON") {
    std::ofstream(entry / "config.json") << "{\"model_type\": ";
  }
  SECTION("the configuration computes something else") {
    std::string config = nn::content_of(entry / "config.json");
    const size_t at = config.find("1e-12");
    REQUIRE(at != std::string::npos);
    std::ofstream(entry / "config.json") << config.replace(at, 5, "1e-02");
  }
  SECTION("the tokeniser is another one") {
    std::string merges = nn::content_of(entry / "merges.txt");
    merges.resize(merges.rfind('\n', merges.size() - 2) + 1);  // without the last line
    std::ofstream(entry / "merges.txt") << merges;
  }
  SECTION("the tokeniser is gone") { fs::remove(entry / "vocab.json"); }
  SECTION("the digest is gone") { fs::remove(entry / "digest.txt"); }
  SECTION("nothing but an empty folder") {
    fs::remove_all(entry);
    fs::create_directories(entry);
  }

  const Call again = call(spec, cache.path());
  CHECK(again.steps == 2);
  CHECK(again.base.digest == first.base.digest);
  CHECK(again.base.architecture == spec.architecture);
  REQUIRE_FALSE(again.stages.empty());
  CHECK_THAT(again.stages.front(), Contains("damaged"));
  // And it is whole again.
  const Call last = call(spec, cache.path());
  CHECK(last.steps == 0);
  CHECK(last.base.digest == first.base.digest);
}

TEST_CASE("pretrained base: a cache that cannot be written to costs only the cache") {
  const nn::Folder folder;
  std::ofstream(folder / "file") << "not a folder\n";
  const Call result = call(spec_of(nn::Kind::kEncoder), folder / "file");
  CHECK(result.steps == 2);
  CHECK_THAT(result.stages.back(), Contains("cannot be kept"));
}

TEST_CASE("base folder: the tokeniser must fit the model") {
  const nn::Folder cache;
  call(spec_of(nn::Kind::kEncoder), cache.path());
  const fs::path entry = entry_of(cache.path());
  const Base base = load_base_folder(entry);
  CHECK(base.origin == entry.string());
  CHECK(base.tokenizer->size() <= 290);
  const data::BpeTokenizer large = data::train_bpe(
      {"a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q r s "
       "t u v w x y z aa bb cc dd ee ff gg hh ii jj kk ll mm nn oo pp qq rr ss tt aa bb cc dd ee "
       "ff gg hh ii jj kk ll mm nn oo pp qq rr ss tt"},
      {.vocabulary = 320, .lowercase = true, .add_prefix_space = true});
  REQUIRE(large.size() > 300);
  large.save(entry);
  CHECK_THROWS_WITH(load_base_folder(entry), Contains("do not belong together"));
}

}  // namespace
}  // namespace fedclock::learning
