#include "models/learning/graph.h"

#include <chrono>
#include <exception>
#include <optional>
#include <stdexcept>
#include <utility>

#include "models/common/error.h"
#include "models/nn/safetensors.h"

namespace fedclock::learning {

struct Graph::Node {
  JobKind kind;
  Digest name;
  std::string label;
  int64_t order;
  std::vector<Node*> inputs;
  std::function<Outcome(const std::vector<const nn::TensorMap*>&)> compute;
  bool kept;

  std::optional<std::vector<double>> numbers;
  Tensors tensors;
  std::exception_ptr error;
  int64_t handles = 0;
  int64_t users = 0;           // operations that will read the tensors, or would if asked for
  std::vector<Node*> waiting;  // those of them that are told when the tensors are there
  int64_t missing = 0;         // inputs it waits for itself
  bool busy = false;           // being fetched or computed, or waiting for inputs
  bool holds_inputs = false;   // counted as their user
  int64_t tries = 0;           // times another process was found to have claimed it
};

namespace {

// What another process claimed is looked at again after this time, and computed here as well after
// this many looks (an hour, far longer than a client's round takes): the other one may have been
// stopped. A process that ends lets go of its claims at once.
constexpr std::chrono::milliseconds kRetryEvery{20};
constexpr int64_t kMostTries = 180'000;

// The user's error or fedclock's own again, with the job's name in front.
std::exception_ptr with_label(const std::string& label) {
  try {
    throw;
  } catch (const InputError& e) {
    return std::make_exception_ptr(InputError(label + ": " + e.what()));
  } catch (const std::exception& e) {
    return std::make_exception_ptr(std::runtime_error(label + ": " + e.what()));
  } catch (...) {
    return std::make_exception_ptr(std::runtime_error(label + ": an unknown error"));
  }
}

}  // namespace

Graph::Graph(const Options& options)
    : store_(options.store),
      most_unfinished_(options.most_unfinished_jobs),
      pool_(options.workers) {
  if (!store_) return;
  claims_ = std::make_unique<Claims>(store_->path().string() + ".claims");
  retrier_ = std::thread([this] { retry_claimed(); });
}

Graph::~Graph() {
  {
    const Lock lock(mutex_);
    stopping_ = true;
  }
  claimed_changed_.notify_all();
  if (retrier_.joinable()) retrier_.join();
}

Graph::Handle Graph::handle(Node* node) {
  ++node->handles;
  return Handle(node, [this](Node* held) {
    const Lock lock(mutex_);
    --held->handles;
    release_if_unused(held);
  });
}

const Digest& Graph::name(const Handle& value) { return value->name; }

const std::string& Graph::label(const Handle& value) { return value->label; }

bool Graph::is_known(const Digest& name) {
  // Only the thread that adds changes the map.
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return store_ && store_->numbers(name).has_value();
  const Lock lock(mutex_);
  return found->second->numbers.has_value() || found->second->busy;
}

Graph::Handle Graph::add(Operation operation, bool wanted) {
  Node* node = nullptr;
  const auto found = by_name_.find(operation.name);
  std::optional<std::vector<double>> known;
  if (found == by_name_.end() && store_ && operation.kept) {
    known = store_->numbers(operation.name);
  }
  Lock lock(mutex_);
  if (found != by_name_.end()) {
    node = found->second;
    if (wanted) ++counts_.of(operation.kind).shared;
  } else {
    node = &nodes_.emplace_back();
    node->kind = operation.kind;
    node->name = operation.name;
    node->label = std::move(operation.label);
    node->order = std::ssize(nodes_);
    for (const Handle& input : operation.inputs) node->inputs.push_back(input.get());
    node->compute = std::move(operation.compute);
    node->kept = operation.kept;
    node->numbers = std::move(known);
    by_name_.emplace(operation.name, node);
    if (node->numbers) ++counts_.of(operation.kind).known;
  }
  if (!node->numbers) hold_inputs(node);
  if (wanted && !node->numbers) demand(node);
  changed_.wait(lock, [&] { return unfinished_ <= most_unfinished_; });
  return handle(node);
}

std::vector<double> Graph::numbers(const Handle& value) {
  Lock lock(mutex_);
  if (!value->numbers) {
    demand(value.get());
    wait(lock, value.get());
  }
  return *value->numbers;
}

Graph::Tensors Graph::tensors(const Handle& value) {
  Lock lock(mutex_);
  demand(value.get());
  wait(lock, value.get());
  return value->tensors;
}

void Graph::wait(Lock& lock, Node* node) {
  changed_.wait(lock, [&] { return !node->busy; });
  if (node->error) std::rethrow_exception(node->error);
}

JobCounts Graph::counts() const {
  const Lock lock(mutex_);
  return counts_;
}

void Graph::demand(Node* node) {
  if (node->tensors || node->error || node->busy) return;
  node->busy = true;
  ++unfinished_;
  if (!node->numbers) {
    begin_compute(node);
  } else {
    pool_.submit(node->order, [this, node] { fetch(node); });
  }
}

void Graph::begin_compute(Node* node) {
  hold_inputs(node);
  for (Node* input : node->inputs) {
    demand(input);
    if (!input->busy) continue;
    input->waiting.push_back(node);
    ++node->missing;
  }
  if (node->missing == 0) submit(node);
}

void Graph::submit(Node* node) {
  pool_.submit(node->order, [this, node] { compute(node); });
}

void Graph::finish(Node* node, Tensors tensors, std::exception_ptr error) {
  node->busy = false;
  node->tensors = std::move(tensors);
  node->error = std::move(error);
  --unfinished_;
  for (Node* user : std::exchange(node->waiting, {})) {
    if (--user->missing == 0) submit(user);
  }
  let_go_of_inputs(node);
  release_if_unused(node);
  changed_.notify_all();
}

// What is not computed yet keeps its inputs' tensors while somebody may ask for it.
void Graph::hold_inputs(Node* node) {
  if (std::exchange(node->holds_inputs, true)) return;
  for (Node* input : node->inputs) ++input->users;
}

void Graph::let_go_of_inputs(Node* node) {
  if (!std::exchange(node->holds_inputs, false)) return;
  for (Node* input : node->inputs) {
    --input->users;
    release_if_unused(input);
  }
}

void Graph::release_if_unused(Node* node) {
  if (node->handles > 0 || node->users > 0 || node->busy) return;
  node->tensors.reset();
  let_go_of_inputs(node);
}

bool Graph::take_from_store(Node* node) {
  if (!store_ || !node->kept) return false;
  std::optional<std::vector<double>> numbers = store_->numbers(node->name);
  if (!numbers) return false;
  // Numbers without tensors will do for a value that has none, and a tensor that nobody waits for.
  std::optional<std::string> image = store_->tensors(node->name);
  if (!image && node->kind != JobKind::kEvaluation && node->kind != JobKind::kDigest) return false;
  Tensors tensors;
  try {
    tensors = std::make_shared<const nn::TensorMap>(
        image ? nn::parse_safetensors(std::move(*image), node->label) : nn::TensorMap{});
  } catch (const InputError&) {
    return false;  // damaged in a way that its checksum did not show
  }
  const Lock lock(mutex_);
  node->numbers = std::move(numbers);
  finish(node, std::move(tensors), nullptr);
  return true;
}

void Graph::fetch(Node* node) {
  if (take_from_store(node)) return;
  const Lock lock(mutex_);
  begin_compute(node);
}

void Graph::compute(Node* node) {
  std::vector<Tensors> held;
  std::vector<const nn::TensorMap*> inputs;
  {
    const Lock lock(mutex_);
    for (const Node* input : node->inputs) {
      if (input->error) {
        finish(node, nullptr, input->error);
        return;
      }
      held.push_back(input->tensors);
      inputs.push_back(held.back().get());
    }
  }
  std::optional<Claims::Claim> claim;
  if (claims_ && node->kept) {
    claim = claims_->try_claim(node->name);
    if (!claim && ++node->tries < kMostTries) {
      const Lock lock(mutex_);
      claimed_.push_back(node);
      claimed_changed_.notify_one();
      return;
    }
    // Another process may have computed it since it was asked for.
    if (take_from_store(node)) {
      const Lock lock(mutex_);
      ++counts_.of(node->kind).shared;
      return;
    }
  }
  try {
    Outcome outcome = node->compute(inputs);
    held.clear();  // before anybody learns that it is done: the graph alone keeps tensors
    if (store_ && node->kept) {
      store_->put(node->name, outcome.numbers,
                  outcome.tensors.empty() ? "" : nn::safetensors_image(outcome.tensors));
    }
    const Lock lock(mutex_);
    // What is not kept is part of the jobs that ask for it.
    if (node->kept) ++counts_.of(node->kind).computed;
    node->numbers = std::move(outcome.numbers);
    finish(node, std::make_shared<const nn::TensorMap>(std::move(outcome.tensors)), nullptr);
  } catch (...) {
    const std::exception_ptr error = with_label(node->label);
    const Lock lock(mutex_);
    finish(node, nullptr, error);
  }
}

void Graph::retry_claimed() {
  Lock lock(mutex_);
  while (!stopping_) {
    claimed_changed_.wait(lock, [&] { return stopping_ || !claimed_.empty(); });
    if (claimed_changed_.wait_for(lock, kRetryEvery, [&] { return stopping_; })) return;
    for (Node* node : std::exchange(claimed_, {})) submit(node);
  }
}

}  // namespace fedclock::learning
