#include "models/data/bpe.h"

#include <algorithm>
#include <tuple>

#include "models/common/error.h"
#include "models/data/bpe_bytes.h"
#include "models/data/utf8.h"

namespace fedclock::data {

namespace {

// GPT-2's published pattern: English clitics; letters, digits or other characters with a blank
// before them; white space, whose last character is left to the word that follows.
constexpr const char* kWords =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// U+00C0 to U+00DE but for the multiplication sign; in UTF-8 0xC3 and then 0x80 to 0x9E.
bool is_latin1_upper(char lead, char next) {
  const auto byte = static_cast<uint8_t>(next);
  return static_cast<uint8_t>(lead) == 0xC3 && byte >= 0x80 && byte <= 0x9E && byte != 0x97;
}

void fold_case(std::string& text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] >= 'A' && text[i] <= 'Z') {
      text[i] = static_cast<char>(text[i] + 0x20);
    } else if (i > 0 && is_latin1_upper(text[i - 1], text[i])) {
      text[i] = static_cast<char>(static_cast<uint8_t>(text[i]) + 0x20);
    }
  }
}

int32_t find_first(const StringIndex& pieces, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const int32_t id = pieces.find(name); id >= 0) return id;
  }
  return -1;
}

}  // namespace

BpeSplitter::BpeSplitter(BpeOptions options) : options_(options), pattern_(kWords) {}

void BpeSplitter::for_each_word(std::string_view text,
                                const std::function<void(std::string_view)>& visit) const {
  std::string changed;
  const bool needs_blank = options_.add_prefix_space && !text.empty() && text[0] != ' ';
  if (needs_blank || options_.lowercase) {
    if (needs_blank) changed = " ";
    changed += text;
    if (options_.lowercase) fold_case(changed);
    text = changed;
  }
  while (!text.empty()) {
    const size_t valid = valid_utf8_bytes(text);
    pattern_.for_each_match(text.substr(0, valid), visit);
    text.remove_prefix(valid);
    if (text.empty()) break;
    visit(text.substr(0, 1));
    text.remove_prefix(1);
  }
}

// ----------------------------------------------------------------------------------- the pieces

// Working space of one call of encode().
struct BpeTokenizer::Scratch {
  struct Symbol {
    int32_t id, previous, next;  // id -1: merged into the previous symbol
  };
  struct Candidate {
    int32_t rank, position, left, right, result;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;  // smallest rank, then leftmost, first
};

BpeTokenizer::BpeTokenizer(std::vector<std::string> vocabulary, std::vector<Merge> merges,
                           BpeOptions options)
    : vocabulary_(std::move(vocabulary)),
      merges_(std::move(merges)),
      options_(options),
      splitter_(options) {
  StringIndex pieces;
  for (const std::string& piece : vocabulary_) pieces.insert(piece);
  ensure(pieces.size() == size(), "a piece is twice in the vocabulary");
  special_.pad = pieces.find("<pad>");
  special_.unknown = find_first(pieces, {"<unk>", "<|endoftext|>"});
  special_.start = find_first(pieces, {"<s>", "<|endoftext|>"});
  special_.end = find_first(pieces, {"</s>", "<|endoftext|>"});
  special_.mask = pieces.find("<mask>");

  for (const std::string& piece : vocabulary_) {
    // What stands for no bytes is a token that somebody added, kept as it is written.
    bytes_.push_back(bytes_of_printable(piece).value_or(piece));
  }
  for (int byte = 0; byte < 256; ++byte) {
    const int32_t id = pieces.find(printable_of_byte(static_cast<uint8_t>(byte)));
    byte_ids_[byte] = id >= 0 ? id : special_.unknown;
  }
  index_merges();
  index_words();
}

void BpeTokenizer::index_merges() {
  struct Entry {
    int32_t left;
    Continuation continuation;
  };
  std::vector<Entry> entries;
  for (size_t rank = 0; rank < merges_.size(); ++rank) {
    const Merge& merge = merges_[rank];
    ensure(std::min({merge.left, merge.right, merge.result}) >= 0 &&
               std::max({merge.left, merge.right, merge.result}) < size(),
           "a merge of pieces outside of the vocabulary");
    entries.push_back({merge.left, {merge.right, static_cast<int32_t>(rank), merge.result}});
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tuple(a.left, a.continuation.right, a.continuation.rank) <
           std::tuple(b.left, b.continuation.right, b.continuation.rank);
  });
  first_continuation_.assign(size() + 1, 0);
  for (const Entry& entry : entries) {
    ++first_continuation_[entry.left + 1];
    continuations_.push_back(entry.continuation);
  }
  for (int32_t id = 0; id < size(); ++id) first_continuation_[id + 1] += first_continuation_[id];
}

// Most words of a text are one piece, so that a look-up saves their merging.
void BpeTokenizer::index_words() {
  Scratch scratch;
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < size(); ++id) {
    if (is_special(id) || bytes_[id].empty()) continue;
    ids.clear();
    encode_word(bytes_[id], scratch, ids);
    if (ids.size() == 1 && words_.insert(bytes_[id]) == std::ssize(word_ids_)) {
      word_ids_.push_back(ids[0]);
    }
  }
}

const BpeTokenizer::Continuation* BpeTokenizer::find_merge(int32_t left, int32_t right) const {
  if (left < 0) return nullptr;  // a byte without piece
  const Continuation* begin = continuations_.data() + first_continuation_[left];
  const Continuation* end = continuations_.data() + first_continuation_[left + 1];
  // Equal pairs stand by rank: the first of them is found.
  const Continuation* found = std::lower_bound(
      begin, end, right, [](const Continuation& c, int32_t value) { return c.right < value; });
  return found != end && found->right == right ? found : nullptr;
}

void BpeTokenizer::encode_word(std::string_view word, Scratch& scratch,
                               std::vector<int32_t>& ids) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  const auto propose = [&](int32_t position) {
    const int32_t left = symbols[position].id, right = symbols[symbols[position].next].id;
    if (const Continuation* merge = find_merge(left, right)) {
      heap.push_back({merge->rank, position, left, right, merge->result});
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  };

  const auto length = static_cast<int32_t>(word.size());
  symbols.clear();
  heap.clear();
  for (int32_t i = 0; i < length; ++i) {
    const int32_t next = i + 1 < length ? i + 1 : -1;
    symbols.push_back({byte_ids_[static_cast<uint8_t>(word[i])], i - 1, next});
  }
  for (int32_t i = 0; i + 1 < length; ++i) propose(i);

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const Scratch::Candidate best = heap.back();
    heap.pop_back();
    Scratch::Symbol& left = symbols[best.position];
    // A candidate is out of date when one of its symbols has been merged since.
    if (left.id != best.left || left.next < 0 || symbols[left.next].id != best.right) continue;
    Scratch::Symbol& right = symbols[left.next];
    left.id = best.result;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[left.next].previous = best.position;
    if (left.previous >= 0) propose(left.previous);
    if (left.next >= 0) propose(best.position);
  }
  for (int32_t i = length > 0 ? 0 : -1; i >= 0; i = symbols[i].next) ids.push_back(symbols[i].id);
}

std::vector<int32_t> BpeTokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  Scratch scratch;
  splitter_.for_each_word(text, [&](std::string_view word) {
    if (const int32_t known = words_.find(word); known >= 0) {
      ids.push_back(word_ids_[known]);
    } else {
      encode_word(word, scratch, ids);
    }
  });
  return ids;
}

std::string BpeTokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    ensure(id >= 0 && id < size(), "a token id outside of the vocabulary");
    if (!is_special(id)) text += bytes_[id];
  }
  return text;
}

Digest BpeTokenizer::digest() const {
  DigestBuilder builder;
  builder.add("byte-level BPE").add(options_.lowercase).add(options_.add_prefix_space);
  builder.add(int64_t{size()});
  for (const std::string& piece : vocabulary_) builder.add(piece);
  for (const Merge& merge : merges_) builder.add(merge.left).add(merge.right).add(merge.result);
  return builder.finish();
}

}  // namespace fedclock::data
