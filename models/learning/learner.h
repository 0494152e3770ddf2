// The learner: train, merge and evaluate as pure functions whose results are named at once and
// computed, unless they are known, while the simulated clock runs ahead. Free of torch, so that
// sim/ can use it.
//
// A Value names a result that may not be known yet. Jobs that depend on it wait for it by
// themselves; only metrics(), training_loss(), content_digest() and save() make the caller wait.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/common/digest.h"
#include "models/learning/settings.h"

namespace fedclock::learning {

struct Node;
// A handle on an adapter state, an update or a metric, with its tensors where it has any. Empty
// where learning is skipped; must not outlive the learner.
using Value = std::shared_ptr<Node>;
// Row numbers, shared between the jobs of a client.
using Rows = std::shared_ptr<const std::vector<int32_t>>;

struct TrainJob {
  Rows rows;
  TrainSettings settings;
  int64_t depth = 0;         // tuned layers, counted from the output
  double learning_rate = 0;  // of this round
  uint64_t seed = 0;
  int64_t round = 0;
  int64_t client = 0;
};

struct Metrics {
  double accuracy = 0;  // share of rows, 0 to 1
  double loss = 0;      // mean over rows, nats
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

  // A fresh adapter with `depth` tuned layers.
  virtual Value initial(int64_t depth, uint64_t seed) = 0;
  virtual Value train(const Value& start, const TrainJob& job) = 0;
  // Weighted mean in the order given; weights sum to 1.
  virtual Value merge(const std::vector<Value>& states, const std::vector<double>& weights) = 0;
  // The same result without a hold on its tensors: for those who wait for its loss alone.
  virtual Value numbers_of(const Value& update) = 0;
  // On these rows of the clients' or the server's set; all rows of it where `rows` is empty.
  virtual Value evaluate(const Value& state, RowSource source, const Rows& rows) = 0;

  // These wait, and throw what the job threw, with its client and round.
  virtual Metrics metrics(const Value& evaluation) = 0;
  virtual double training_loss(const Value& update) = 0;
  virtual Digest content_digest(const Value& state) = 0;
  // Writes a state as a PEFT adapter folder.
  virtual void save(const Value& state, const std::filesystem::path& folder) = 0;

  virtual JobCounts counts() const = 0;
  // Of activations, in the largest job that was computed: each worker has as much.
  virtual int64_t buffer_bytes() const = 0;
};

// Learning skipped: every value is empty.
std::unique_ptr<Learner> make_timing_only_learner();

}  // namespace fedclock::learning
