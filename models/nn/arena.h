// Buffers of one forward and backward pass, taken in order and given back all at once. Holds one
// block of what the largest pass so far took: passes like those before allocate nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "models/nn/matrix.h"

namespace fedclock::nn {

class Arena {
 public:
  // Uninitialised floats, aligned to a cache line, until rewind() to before them.
  float* take(int64_t count) {
    const int64_t bytes = (count * static_cast<int64_t>(sizeof(float)) + 63) / 64 * 64;
    while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].bytes) {
      ++block_;
      used_ = 0;
    }
    if (block_ == blocks_.size()) add_block(bytes);
    char* start = blocks_[block_].start.get() + used_;
    used_ += bytes;
    taken_ += bytes;
    most_taken_ = std::max(most_taken_, taken_);
    return reinterpret_cast<float*>(start);
  }
  Matrix matrix(int64_t rows, int64_t columns) { return {take(rows * columns), rows, columns}; }

  // Gives back what was taken since mark().
  struct Mark {
    size_t block = 0;
    int64_t used = 0;
    int64_t taken = 0;  // bytes, in all blocks
  };
  Mark mark() const { return {block_, used_, taken_}; }
  void rewind(Mark mark) {
    block_ = mark.block;
    used_ = mark.used;
    taken_ = mark.taken;
    if (taken_ > 0 || blocks_.size() < 2) return;
    blocks_.clear();
    add_block(most_taken_);
  }

  // All memory held, in use or not.
  int64_t bytes() const {
    int64_t total = 0;
    for (const Block& block : blocks_) total += block.bytes;
    return total;
  }

 private:
  struct Free {
    void operator()(char* start) const { std::free(start); }
  };
  struct Block {
    std::unique_ptr<char, Free> start;
    int64_t bytes;
  };

  void add_block(int64_t bytes) {
    constexpr int64_t kSmallest = 1 << 20;
    const int64_t size = bytes > kSmallest ? bytes : kSmallest;
    auto* start = static_cast<char*>(std::aligned_alloc(64, static_cast<size_t>(size)));
    if (start == nullptr) throw std::bad_alloc();
    blocks_.push_back({std::unique_ptr<char, Free>(start), size});
    block_ = blocks_.size() - 1;
    used_ = 0;
  }

  std::vector<Block> blocks_;
  size_t block_ = 0;
  int64_t used_ = 0;
  int64_t taken_ = 0, most_taken_ = 0;  // bytes
};

}  // namespace fedclock::nn
