// sim/platform/TIME.md: the sums of its example, the clock's word on them, and every result in it.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "models/cost/cost.h"
#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

constexpr double kLayers = 12, kWidth = 768, kInner = 3072, kRank = 8, kClasses = 8;
constexpr double kRows = 16, kSequence = 128, kTokens = kRows * kSequence;
constexpr int kSteps = 20, kClients = 20;

class Page {
 public:
  // Says so in the page, as a whole number or cell: not as a part of another.
  void says(const std::string& figure) const {
    INFO(figure);
    bool whole = false;
    for (size_t at = text_.find(figure, 1); at != std::string::npos;
         at = text_.find(figure, at + 1)) {
      const char before = text_[at - 1], after = text_[at + figure.size()];
      if (!std::isdigit(before) && before != '.' && before != ',' && !std::isdigit(after)) {
        whole = true;
      }
    }
    CHECK(whole);
  }

 private:
  std::string text_ = read_file(FEDCLOCK_SOURCE_DIR
                                "/"
                                "sim/platform/TIME.md");
};

std::string seconds(double s) { return fmt::format("{:.3f} s", s); }
std::string giga(double flops) { return fmt::format("{:.3f} G |", flops / 1e9); }

struct Step {
  double maps = 0, attention = 0, adapters = 0, head = 0;
  double flops() const { return maps + attention + adapters + head; }
};

// Over the six maps of a layer: sums of in x out and of in + out.
Step forward() {
  const double products = 4 * kWidth * kWidth + 2 * kWidth * kInner;
  const double sums = 4 * (kWidth + kWidth) + 2 * (kWidth + kInner);
  return {2 * kTokens * products * kLayers, 4 * kRows * kSequence * kSequence * kWidth * kLayers,
          2 * kTokens * kRank * sums * kLayers, 2 * kRows * kWidth * kClasses};
}

Step backward() {
  Step step = forward();
  step.maps -= 3 * 2 * kTokens * kWidth * kWidth;  // q, k, v of the lowest layer
  step.attention *= 2;
  step.adapters = 2 * step.adapters - 3 * 2 * kTokens * kRank * kWidth;
  step.head *= 2;
  return step;
}

double memory_bytes() {
  cost::TrainingPlan plan;
  plan.depth = 12;
  plan.rank = 8;
  plan.targets = {nn::Target::kQ, nn::Target::kK,  nn::Target::kV,
                  nn::Target::kO, nn::Target::kUp, nn::Target::kDown};
  plan.batch_rows = 16;
  plan.sequence_tokens = 128;
  plan.head_outputs = 8;
  return cost::step_work(cost::architecture_preset("roberta-base"), plan).memory_bytes;
}

struct Board {
  const char* name;
  int count;
  double peak_flops, efficiency, overhead_s, up_mbit_s, down_mbit_s;
  double train_s() const {
    const double step = (forward().flops() + backward().flops()) / (peak_flops * efficiency);
    return kSteps * (step + overhead_s);
  }
};

// scenarios/quickstart.textproto and the profiles in scenarios/devices, in the order of clients.
const std::vector<Board> kBoards = {
    {"jetson-tx2", 8, 0.75e12, 0.4595, 0.0078, 10, 20},
    {"jetson-xavier-nx", 8, 0.85e12, 0.4595, 0.0078, 10, 20},
    {"jetson-agx-xavier", 4, 0.922e12, 0.4595, 0.0078, 20, 50},
};

constexpr double kElements = kLayers * kRank * (4 * (kWidth + kWidth) + 2 * (kWidth + kInner)) +
                             kWidth * kClasses + kClasses;
constexpr double kHeader = 12480;
constexpr double kMbit = (4 * kElements + kHeader) * 8 / 1e6;
constexpr double kLatency_s = 0.01;
constexpr double kMerge_s = (kClients + 1) * kElements * 4 / 2039e9;

Approx exactly(double value) { return Approx(value).margin(1e-9).epsilon(0); }

v1::Result timed(const Workplace& here, const std::string& scenario) {
  const Ran ran = here.run("run " FEDCLOCK_SOURCE_DIR "/scenarios/" + scenario +
                           " --timing-only --quiet --out run --overwrite");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  return results::read_result(here / "run");
}

TEST_CASE("the worked example of time: a round of the quickstart") {
  const Page page;
  const Step there = forward(), back = backward();
  for (const Step& step : {there, back}) {
    for (const double flops : {step.maps, step.attention, step.adapters, step.head, step.flops()}) {
      page.says(giga(flops));
    }
  }
  const double flops = there.flops() + back.flops();
  page.says(fmt::format("{:.3f} GFLOP", flops / 1e9));
  page.says(fmt::format("{:.5f} s", flops / (0.75e12 * 0.4595) + 0.0078));
  page.says(fmt::format("{:.2f} GB that a step moves", memory_bytes() / 1e9));
  page.says(fmt::format("{:.2f} s for the", memory_bytes() / 59.7e9));
  page.says("1,327,104");
  page.says("1,333,256");
  page.says("6,152");
  CHECK(kWidth * kClasses + kClasses == 6152);
  page.says("12,480");
  CHECK(kElements == 1333256);
  page.says("5,345,504");
  CHECK(kMbit * 1e6 / 8 == 5345504);
  page.says(fmt::format("{:.3f} Mbit", kMbit));
  page.says(fmt::format("{:.6f} s", kMerge_s));

  const Workplace here;
  const v1::Result result = timed(here, "quickstart.textproto");
  const v1::Round& round = result.rounds(1);
  double last_s = 0;
  int client = 0;
  for (const Board& board : kBoards) {
    const double down_s = kLatency_s + kMbit / board.down_mbit_s;
    const double up_s = kLatency_s + kMbit / board.up_mbit_s;
    const double end_s = down_s + board.train_s() + up_s;
    last_s = std::max(last_s, end_s);
    page.says(fmt::format("| {} | {} | {} | {} |", seconds(down_s), seconds(board.train_s()),
                          seconds(up_s), seconds(end_s)));
    for (int i = 0; i < board.count; ++i, ++client) {
      const v1::ClientRound& part = round.clients(client);
      REQUIRE(result.clients(part.client()).device() == board.name);
      CHECK(static_cast<double>(part.bytes_up()) == kMbit * 1e6 / 8);
      CHECK(part.download_s() == exactly(down_s));
      CHECK(part.train_s() == exactly(board.train_s()));
      CHECK(part.upload_s() == exactly(up_s));
      CHECK(part.end_s() == exactly(end_s));
    }
  }
  CHECK(client == kClients);
  CHECK(round.end_s() == exactly(last_s + kMerge_s));
  CHECK(result.end_s() == Approx(20 * (last_s + kMerge_s)).margin(1e-7).epsilon(0));
  page.says("16 min 23 s");
  CHECK(static_cast<int>(result.end_s()) == 16 * 60 + 23);
}

TEST_CASE("the worked example of time: one link for all") {
  const Page page;
  const double link_mbit_s = 20;
  const double down_s = kLatency_s + kMbit * kClients / link_mbit_s;
  page.says(seconds(down_s));
  // Mbit that are left, of all boards of a kind; a kind has its uploads side by side.
  std::vector<double> ready_s, left_mbit, done_s(kBoards.size(), 0);
  for (const Board& board : kBoards) {
    ready_s.push_back(down_s + board.train_s() + kLatency_s);
    left_mbit.push_back(kMbit);
  }
  const double first_s = *std::min_element(ready_s.begin(), ready_s.end());
  double now_s = first_s;
  // Words of the page's table, behind the number of uploads.
  const char* comment[] = {" AGX Xavier", ", with the Xavier NX", ", with the TX2",
                           ": the AGX Xavier are done", ": the Xavier NX are done"};
  size_t row = 0;
  while (*std::min_element(done_s.begin(), done_s.end()) == 0) {
    int flows = 0;
    double next_s = 1e9;
    for (size_t i = 0; i < kBoards.size(); ++i) {
      if (ready_s[i] > now_s) next_s = std::min(next_s, ready_s[i]);
      if (ready_s[i] <= now_s && done_s[i] == 0) flows += kBoards[i].count;
    }
    const double share_mbit_s = link_mbit_s / flows;  // below what their own links carry
    size_t ends = kBoards.size();
    for (size_t i = 0; i < kBoards.size(); ++i) {
      if (ready_s[i] > now_s || done_s[i] != 0) continue;
      REQUIRE(share_mbit_s <= kBoards[i].up_mbit_s);
      if (now_s + left_mbit[i] / share_mbit_s < next_s) {
        next_s = now_s + left_mbit[i] / share_mbit_s;
        ends = i;
      }
    }
    for (size_t i = 0; i < kBoards.size(); ++i) {
      if (ready_s[i] <= now_s && done_s[i] == 0) left_mbit[i] -= share_mbit_s * (next_s - now_s);
    }
    if (ends < kBoards.size()) done_s[ends] = next_s;
    page.says(fmt::format("| {} | {} | {}{} | {:.3f} Mbit/s |", seconds(now_s), seconds(next_s),
                          flows, comment[row++], share_mbit_s));
    now_s = next_s;
  }
  CHECK(row == std::size(comment));
  CHECK(now_s == exactly(first_s + kClients * kMbit / link_mbit_s));

  const Workplace here;
  const v1::Result result = timed(here, "what-if/slow-uplink.textproto");
  const v1::Round& round = result.rounds(1);
  int client = 0;
  for (size_t i = 0; i < kBoards.size(); ++i) {
    for (int k = 0; k < kBoards[i].count; ++k, ++client) {
      CHECK(round.clients(client).download_s() == exactly(down_s));
      CHECK(round.clients(client).end_s() == exactly(done_s[i]));
    }
  }
  CHECK(round.end_s() == exactly(now_s + kMerge_s));
  page.says(fmt::format("{:.1f} times as long", round.end_s() / 49.173787484));
}

}  // namespace
}  // namespace fedclock::test
