// Training of byte-level BPE (bpe.h): words are counted once, then pairs are merged one after
// another, where only the words that hold the pair are visited again.
#include <fmt/format.h>

#include <map>
#include <queue>

#include "models/common/error.h"
#include "models/data/bpe.h"
#include "models/data/bpe_bytes.h"

namespace fedclock::data {

namespace {

constexpr const char* kSpecialNames[] = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
constexpr int32_t kSpecials = 5;
constexpr int32_t kSmallestVocabulary = kSpecials + 256;

class BpeTrainer {
 public:
  explicit BpeTrainer(int32_t vocabulary) : vocabulary_(vocabulary), heap_(Later{&pieces_}) {
    for (const char* name : kSpecialNames) pieces_.insert(name);
    for (const uint8_t byte : bytes_in_printable_order()) {
      byte_ids_[byte] = pieces_.insert(std::string_view(reinterpret_cast<const char*>(&byte), 1));
    }
  }

  void add_words(const StringIndex& words, const std::vector<int64_t>& counts) {
    for (int32_t i = 0; i < words.size(); ++i) {
      Word word{static_cast<int32_t>(symbols_.size()), static_cast<int32_t>(words[i].size()),
                counts[i]};
      for (const char byte : words[i]) symbols_.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
      words_.push_back(word);
    }
    for (int32_t i = 0; i < std::ssize(words_); ++i) {
      const Word& word = words_[i];
      for (int32_t at = 0; at + 1 < word.length; ++at) {
        change(symbols_[word.first + at], symbols_[word.first + at + 1], i, word.count);
      }
    }
    push_increased();
  }

  void run() {
    while (pieces_.size() < vocabulary_) {
      const int32_t best = pop_most_frequent();
      if (best < 0) return;
      const int32_t left = pairs_[best].left, right = pairs_[best].right;
      const int32_t result = pieces_.insert(pieces_[left] + pieces_[right]);
      // A pair comes back when one of its pieces is made in a second way; it keeps its first rank.
      if (!pairs_[best].merged) merges_.push_back({left, right, result});
      pairs_[best].merged = true;
      const std::vector<int32_t> holders = std::move(pairs_[best].words);
      pairs_[best].words.clear();
      for (const int32_t word : holders) merge_in_word(word, left, right, result);
      push_increased();
    }
  }

  std::vector<std::string> vocabulary() const {
    std::vector<std::string> spelt(std::begin(kSpecialNames), std::end(kSpecialNames));
    for (int32_t id = kSpecials; id < pieces_.size(); ++id) {
      spelt.push_back(printable_of_bytes(pieces_[id]));
    }
    return spelt;
  }
  const std::vector<BpeTokenizer::Merge>& merges() const { return merges_; }

 private:
  struct Word {
    int32_t first, length;  // in symbols_
    int64_t count;
  };
  struct Pair {
    int32_t left, right;
    int64_t count = 0;
    std::vector<int32_t> words = {};  // where it occurs, or did before another merge
    bool merged = false;
    bool increased = false;
  };
  struct Candidate {
    int64_t count;
    int32_t left, right, pair;
  };
  // A priority queue's order: the most frequent pair last; of equals, the smaller pieces last.
  struct Later {
    const StringIndex* pieces;
    bool operator()(const Candidate& a, const Candidate& b) const {
      if (a.count != b.count) return a.count < b.count;
      if (a.left != b.left) return (*pieces)[a.left] > (*pieces)[b.left];
      return (*pieces)[a.right] > (*pieces)[b.right];
    }
  };

  int32_t pair_of(int32_t left, int32_t right) {
    const auto [found, is_new] =
        pair_numbers_.try_emplace({left, right}, static_cast<int32_t>(pairs_.size()));
    if (is_new) pairs_.push_back({left, right});
    return found->second;
  }

  void change(int32_t left, int32_t right, int32_t word, int64_t by) {
    const int32_t number = pair_of(left, right);
    Pair& pair = pairs_[number];
    pair.count += by;
    if (by < 0) return;
    if (pair.words.empty() || pair.words.back() != word) pair.words.push_back(word);
    if (!pair.increased) increased_.push_back(number);
    pair.increased = true;
  }

  void push_increased() {
    for (const int32_t number : increased_) {
      Pair& pair = pairs_[number];
      pair.increased = false;
      heap_.push({pair.count, pair.left, pair.right, number});
    }
    increased_.clear();
  }

  // A pair that occurs at least twice; -1 if there is none. An entry of the heap is out of date
  // when the pair's count has changed: after a decrease it goes back with the new count, after an
  // increase another entry is there.
  int32_t pop_most_frequent() {
    while (!heap_.empty()) {
      Candidate top = heap_.top();
      heap_.pop();
      const int64_t count = pairs_[top.pair].count;
      if (count == top.count && count >= 2) return top.pair;
      if (count < top.count && count >= 2) {
        top.count = count;
        heap_.push(top);
      }
    }
    return -1;
  }

  void merge_in_word(int32_t number, int32_t left, int32_t right, int32_t result) {
    Word& word = words_[number];
    int32_t* symbols = symbols_.data() + word.first;
    int32_t kept = 0;
    for (int32_t at = 0; at < word.length; ++at) {
      const bool found = at + 1 < word.length && symbols[at] == left && symbols[at + 1] == right;
      if (!found) {
        symbols[kept++] = symbols[at];
        continue;
      }
      change(left, right, number, -word.count);
      if (kept > 0) {
        change(symbols[kept - 1], left, number, -word.count);
        change(symbols[kept - 1], result, number, word.count);
      }
      if (at + 2 < word.length) {
        change(right, symbols[at + 2], number, -word.count);
        change(result, symbols[at + 2], number, word.count);
      }
      symbols[kept++] = result;
      ++at;
    }
    word.length = kept;
  }

  int32_t vocabulary_;
  StringIndex pieces_;  // special names, then the bytes of the pieces
  std::array<int32_t, 256> byte_ids_{};
  std::vector<int32_t> symbols_;
  std::vector<Word> words_;
  std::map<std::pair<int32_t, int32_t>, int32_t> pair_numbers_;
  std::vector<Pair> pairs_;
  std::vector<int32_t> increased_;
  std::priority_queue<Candidate, std::vector<Candidate>, Later> heap_;
  std::vector<BpeTokenizer::Merge> merges_;
};

}  // namespace

BpeTokenizer train_bpe(const std::vector<std::string>& texts, const BpeTraining& training) {
  if (training.vocabulary < kSmallestVocabulary) {
    throw InputError(
        fmt::format("model.pretrain.tokenizer.vocabulary: {}: write at least {}: the "
                    "special tokens and the 256 bytes",
                    training.vocabulary, kSmallestVocabulary));
  }
  const BpeOptions options{training.lowercase, training.add_prefix_space};
  StringIndex words;
  std::vector<int64_t> counts;
  const BpeSplitter splitter(options);
  for (const std::string& text : texts) {
    splitter.for_each_word(text, [&](std::string_view word) {
      const int32_t number = words.insert(word);
      if (number == std::ssize(counts)) counts.push_back(0);
      ++counts[number];
    });
  }
  BpeTrainer trainer(training.vocabulary);
  trainer.add_words(words, counts);
  trainer.run();
  return BpeTokenizer(trainer.vocabulary(), trainer.merges(), options);
}

}  // namespace fedclock::data
