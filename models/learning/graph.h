// A lazy, content-addressed graph of pure functions: nothing is computed that is known.
//
// A value is the outcome of an operation: tensors (a state, an update), numbers (a loss, counts),
// or both. Its name is the digest of everything that it depends on, so it is known before the value
// is. Numbers that the store knows are never computed again. Tensors exist only while a computation
// needs them, one that runs or one that is not known yet and that somebody may still ask for, or a
// handle is held; whoever wants them later has them from the store, or computed again.
//
// Operations are added by one thread, whose clock runs ahead; workers compute those whose numbers
// were asked for, the oldest first. Several processes share a store: what one of them is computing,
// the others wait for.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "models/common/claims.h"
#include "models/common/digest.h"
#include "models/learning/learner.h"
#include "models/learning/pool.h"
#include "models/learning/state_function.h"
#include "models/learning/store.h"
#include "models/nn/tensor_map.h"

namespace fedclock::learning {

class Graph {
 public:
  struct Node;
  // Keeps a value's tensors, once they are computed, in memory. Must not outlive the graph.
  using Handle = std::shared_ptr<Node>;
  using Tensors = std::shared_ptr<const nn::TensorMap>;

  struct Operation {
    JobKind kind = JobKind::kInitial;
    Digest name;
    std::string label;  // for errors: "round 3, client 7: local training"
    std::vector<Handle> inputs;
    // Runs on a worker; `inputs` are those operations' tensors, in order.
    std::function<Outcome(const std::vector<const nn::TensorMap*>& inputs)> compute;
    bool kept = true;  // in the store; else it is computed wherever it is needed
  };

  struct Options {
    int workers = 1;
    std::shared_ptr<Store> store;          // nullptr: nothing is kept
    int64_t most_unfinished_jobs = 10000;  // add() waits while there are more
  };

  explicit Graph(const Options& options);
  // Finishes what is running and drops the rest.
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // The same value, without keeping its tensors.
  static Handle without_tensors(const Handle& value) {
    return Handle(value.get(), [](Node*) {});
  }
  static const Digest& name(const Handle& value);
  static const std::string& label(const Handle& value);
  // Whether the numbers of this name need no computation.
  bool is_known(const Digest& name);
  // The value; an operation of the same name gives the same one. With `wanted`, its numbers are
  // computed from now on, unless they are known.
  Handle add(Operation operation, bool wanted);

  // These wait, and throw what the computation threw, with its label.
  std::vector<double> numbers(const Handle& value);
  Tensors tensors(const Handle& value);

  JobCounts counts() const;

 private:
  using Lock = std::unique_lock<std::mutex>;

  // All with mutex_ held.
  Handle handle(Node* node);
  void demand(Node* node);
  void begin_compute(Node* node);
  void submit(Node* node);
  void finish(Node* node, Tensors tensors, std::exception_ptr error);
  void hold_inputs(Node* node);
  void let_go_of_inputs(Node* node);
  void release_if_unused(Node* node);

  // On a worker.
  void fetch(Node* node);
  void compute(Node* node);
  bool take_from_store(Node* node);

  void wait(Lock& lock, Node* node);
  void retry_claimed();  // thread

  const std::shared_ptr<Store> store_;
  const int64_t most_unfinished_;
  std::unique_ptr<Claims> claims_;

  mutable std::mutex mutex_;
  std::condition_variable changed_, claimed_changed_;
  std::deque<Node> nodes_;  // in the order in which they were added
  std::map<Digest, Node*> by_name_;
  std::vector<Node*> claimed_;  // by another process
  int64_t unfinished_ = 0;
  JobCounts counts_;
  bool stopping_ = false;
  std::thread retrier_;
  Pool pool_;  // last: its threads end before anything they use
};

}  // namespace fedclock::learning
