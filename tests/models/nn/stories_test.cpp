// A real pretrained Llama: stories260K of Karpathy's llama2.c (MIT), with the sample that its
// author published.
#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "models/nn/hugging_face.h"
#include "models/nn/transformer.h"

namespace fedclock::nn {
namespace {

namespace fs = std::filesystem;

// "Sampling this model at temperature 0.0": 256 tokens after <s>, 565 characters.
// https://github.com/karpathy/llama2.c, doc/stories260K.md at 1386edfd9090
constexpr const char* kAuthorsSample =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high.\n"
    "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. She "
    "said, \"I want to play with your ball, but I can't find it.\"\n"
    "Lily was sad and didn't know what to do. She said, \"I'm sorry, Lily. I didn't know what to "
    "do.\"\n"
    "Lily didn't want to help her mom, so she said, \"I'm sorry, mom. I didn't know what to do.\" "
    "Her mom said, \"Don't worry, Lily. We can help you.";

// The weights lie beside the folder of data.
std::optional<fs::path> weights_folder() {
  const char* data = std::getenv("FEDCLOCK_DATA");
  if (data == nullptr || *data == 0) return {};
  const fs::path beside = fs::absolute(fs::path(data) / ".." / "weights").lexically_normal();
  const fs::path folder = beside / "stories260K";
  if (!fs::exists(folder / "model.safetensors")) return {};
  return folder;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

// The texts of the ids from `piece<TAB>score` lines.
std::vector<std::string> read_vocabulary(const fs::path& path) {
  std::vector<std::string> pieces;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    std::string piece = line.substr(0, line.rfind('\t'));
    if (piece.size() == 6 && piece.starts_with("<0x")) {
      piece = std::string(1, static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16)));
    }
    replace_all(piece, "\u2581", " ");
    pieces.push_back(piece);
  }
  return pieces;
}

TEST_CASE("stories260K: the author's greedy sample, word for word") {
  const auto folder = weights_folder();
  if (!folder) {
    WARN("skipped: no weights/stories260K beside the folder that FEDCLOCK_DATA names");
    return;
  }
  Architecture architecture;
  const TensorMap weights = load_base(*folder, architecture);
  CHECK(parameter_count(architecture) == 260032);
  const Transformer model(architecture, weights);
  const std::vector<std::string> vocabulary = read_vocabulary(*folder / "vocab.tsv");
  REQUIRE(vocabulary.size() == 512);

  at::NoGradGuard no_gradients;
  std::vector<int64_t> ids{1};  // <s>
  std::string text;
  while (ids.size() < 1 + 256) {
    const auto tokens = static_cast<int64_t>(ids.size());
    const at::Tensor hidden = model.hidden({at::tensor(ids, at::kLong).view({1, tokens}), {}, {}});
    const at::Tensor scores = model.vocabulary_scores(hidden[0].narrow(0, tokens - 1, 1));
    ids.push_back(scores.argmax().item<int64_t>());
    text += vocabulary.at(static_cast<size_t>(ids.back()));
  }
  REQUIRE(text.starts_with(" "));  // a word's blank stands before it
  CHECK(text.substr(1) == kAuthorsSample);
  CHECK(std::string(kAuthorsSample).size() == 565);
}

}  // namespace
}  // namespace fedclock::nn
