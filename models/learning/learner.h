// The learner: train, merge and evaluate as pure functions whose results are named at once and
// computed, unless they are known, while the simulated clock runs ahead. Free of torch, so that
// sim/ can use it.
//
// A Value names a result that may not be known yet. Jobs that depend on it wait for it by
// themselves; only metrics(), numbers of any kind, content_digest() and save() make the caller
// wait.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/common/digest.h"
#include "models/learning/functions.h"
#include "models/learning/settings.h"
#include "models/learning/share.h"

namespace fedclock::learning {

struct Node;
// A handle on an adapter state, an update or a metric, with its tensors where it has any. Empty
// where learning is skipped; must not outlive the learner.
using Value = std::shared_ptr<Node>;

struct TrainJob {
  Rows rows;
  TrainSettings settings;
  Share trained;             // whose ranks say which layers; the tensors have their own
  double learning_rate = 0;  // of this round
  uint64_t seed = 0;
  int64_t round = 0;
  int64_t part = 0;  // of this client in this round, from 0
  int64_t client = 0;
  // FedProx (1812.06127): the loss has mu / 2 ||w - start||^2 besides.
  double proximal_mu = 0;
  // HetLoRA (2401.06432): the loss has lambda ||B[:, keep:]|| ||A[keep:, :]|| of each adapter
  // besides.
  double tail_lambda = 0;
  int64_t tail_keep = 0;
  // SCAFFOLD (1910.06378): train() has c and c_i as further inputs, and each gradient is corrected
  // by c - c_i.
  bool has_controls = false;
  // FedAPEN (KDD 2023): the start is an ensemble (ensemble.h), whose two models are trained
  // together, each also on the other's predictions and on both; the losses told are the ensemble's,
  // the norms of updates and gradients those of both models together.
  bool ensemble = false;
  // FedAMoLE (2411.19128): the loss has this times the load-balance losses of all modules with
  // experts besides, over tokens that go through the layers together (at most kTokensAtOnce of
  // learning_task.h; a batch's parts are weighted by their tokens).
  double load_balance = 0;
};

// What a training tells beside the state that it led to.
struct TrainingNumbers {
  double mean_loss = 0;         // nats, over all steps, weighted by rows
  double mean_square_loss = 0;  // of each row's, likewise
  // Squared norm of what was trained less where it started, of the head and of each layer's
  // adapters; 0 where nothing was trained.
  double head_update = 0;
  std::vector<double> layer_updates;
  // Mean over steps and elements of the squared gradient of each layer's adapters (the diagonal of
  // the empirical Fisher information, on batches).
  std::vector<double> layer_fisher;
};

struct Metrics {
  // Share of rows; or of rows with responses of their own the mean ROUGE-L. 0 to 1.
  double accuracy = 0;
  double loss = 0;  // mean over rows, nats
  int64_t rows = 0;
};

enum class JobKind { kInitial, kTraining, kAggregation, kEvaluation, kDigest };
inline constexpr int kJobKinds = 5;

// What became of the jobs that were asked for.
struct JobCount {
  int64_t known = 0;   // their result was in the store
  int64_t shared = 0;  // the same as another of this run, or computed by another process meanwhile
  int64_t computed = 0;  // here and now
};
struct JobCounts {
  std::array<JobCount, kJobKinds> by_kind;
  JobCount& of(JobKind kind) { return by_kind[static_cast<size_t>(kind)]; }
  const JobCount& of(JobKind kind) const { return by_kind[static_cast<size_t>(kind)]; }
  JobCount total() const;
};

enum class RowSource { kTrain, kTest };

class Learner {
 public:
  virtual ~Learner() = default;

  // False where numbers are never computed (timing only): decisions that need one are refused.
  virtual bool has_numbers() const = 0;

  // A fresh adapter, with the head.
  virtual Value initial(const Share& share, uint64_t seed) = 0;
  // From `start`; `controls` are c and c_i where the job has them.
  virtual Value train(const Value& start, const TrainJob& job,
                      const std::vector<Value>& controls = {}) = 0;
  // `after`: whose work it goes with, for errors ("round 3, aggregation").
  virtual Value apply(const Function& function, const std::vector<Value>& inputs,
                      const std::string& after) = 0;
  // The same result without a hold on its tensors: for those who wait for its loss alone.
  virtual Value numbers_of(const Value& update) = 0;
  // On these rows of the clients' or the server's set; all rows of it where `rows` is empty.
  virtual Value evaluate(const Value& state, RowSource source, const Rows& rows) = 0;

  // These wait, and throw what the job threw, with its client and round.
  virtual Metrics metrics(const Value& evaluation) = 0;
  virtual TrainingNumbers training_numbers(const Value& update) = 0;
  virtual std::vector<double> numbers(const Value& value) = 0;
  virtual Digest content_digest(const Value& state) = 0;
  // Writes a state as a PEFT adapter folder; experts and routers, for which PEFT has no place,
  // beside it as experts.safetensors, by their own names.
  virtual void save(const Value& state, const std::filesystem::path& folder) = 0;

  virtual JobCounts counts() const = 0;
  // Of activations, in the largest job that was computed: each worker has as much.
  virtual int64_t buffer_bytes() const = 0;
};

// Learning skipped: every value is empty.
std::unique_ptr<Learner> make_timing_only_learner();

}  // namespace fedclock::learning
