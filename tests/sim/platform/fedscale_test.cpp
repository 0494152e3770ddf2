#include "sim/platform/fedscale.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "models/common/error.h"
#include "tests/sim/platform/pickled.h"

// The pickles are what Python 3.11's pickle.dumps(value, protocol) gives.
namespace {

using Catch::Contains;
using fedclock::InputError;
using fedclock::platform::fedscale_csv;
using fedclock::platform::FedScaleTable;
using fedclock::platform::read_pickle;
using fedclock::test::bytes;

FedScaleTable table_of(const std::string& pickle) {
  return fedscale_csv(read_pickle(pickle, "t.pkl"), "t.pkl");
}

std::string problem_of(const std::string& pickle) {
  try {
    table_of(pickle);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no problem";
}

// Protocol 0, by hand.
std::string list_text(const std::string& items) {
  std::string text = "(";
  for (std::size_t at = 0; at < items.size();) {
    const std::size_t end = items.find(' ', at);
    text += "F" + items.substr(at, end - at) + "\n";
    at = end == items.npos ? end : end + 1;
  }
  return text + "l";
}

std::string client_text(const std::string& client, const std::string& active,
                        const std::string& inactive, const std::string& finish_time) {
  return "I" + client + "\n(Vactive\n" + list_text(active) + "Vinactive\n" + list_text(inactive) +
         "Vfinish_time\nF" + finish_time + "\nd";
}

std::string capacity_text(const std::string& computation, const std::string& communication) {
  return "(I5\n(Vcomputation\n" + computation + "Vcommunication\n" + communication + "dd.";
}

}  // namespace

TEST_CASE("availability reads the same in every protocol, sorted by client") {
  // {2: {'duration': 30, 'inactive': [20, 50], 'finish_time': 100, 'active': [10, 30],
  //      'model': 'CPH1801'},
  //  1: {'duration': 5, 'inactive': [7], 'finish_time': 100, 'active': [2], 'model': 'x'}}
  const std::map<int, std::string> pickles = {
      {0, bytes("(dp0\nI2\n(dp1\nVduration\np2\nI30\nsVinactive\np3\n(lp4\nI20\naI50\nasVfinish_"
                "time\np5\nI100\nsVactive\np6\n(lp7\nI10\naI30\nasVmodel\np8\nVCPH1801\np9\nssI1\n("
                "dp10\ng2\nI5\nsg3\n(lp11\nI7\nasg5\nI100\nsg6\n(lp12\nI2\nasg8\nVx\np13\nss.")},
      {2,
       bytes("\200\002}q\000(K\002}q\001("
             "X\010\000\000\000durationq\002K\036X\010\000\000\000inactiveq\003]q\004("
             "K\024K2eX\013\000\000\000finish_timeq\005KdX\006\000\000\000activeq\006]q\007("
             "K\nK\036eX\005\000\000\000modelq\010X\007\000\000\000CPH1801q\011uK\001}q\n("
             "h\002K\005h\003]q\013K\007ah\005Kdh\006]q\014K\002ah\010X\001\000\000\000xq\015uu.")},
      {4,
       bytes(
           "\200\004\225\200\000\000\000\000\000\000\000}\224(K\002}\224("
           "\214\010duration\224K\036\214\010inactive\224]\224(K\024K2e\214\013finish_"
           "time\224Kd\214\006active\224]\224(K\nK\036e\214\005model\224\214\007CPH1801\224uK\001}"
           "\224(h\002K\005h\003]\224K\007ah\005Kdh\006]\224K\002ah\010\214\001x\224uu.")},
      {5,
       bytes(
           "\200\005\225\200\000\000\000\000\000\000\000}\224(K\002}\224("
           "\214\010duration\224K\036\214\010inactive\224]\224(K\024K2e\214\013finish_"
           "time\224Kd\214\006active\224]\224(K\nK\036e\214\005model\224\214\007CPH1801\224uK\001}"
           "\224(h\002K\005h\003]\224K\007ah\005Kdh\006]\224K\002ah\010\214\001x\224uu.")}};
  for (const auto& [protocol, pickle] : pickles) {
    CAPTURE(protocol);
    const FedScaleTable table = table_of(pickle);
    CHECK(table.kind == "availability");
    CHECK(table.csv == "client_id,start_s,end_s\n1,2,7\n2,10,20\n2,30,50\n");
    CHECK(table.clients == 2);
    CHECK(table.intervals == 3);
    CHECK(table.empty == 0);
    CHECK(table.never_on == 0);
    CHECK(table.period_s == 100);
    CHECK(table.same_period);
  }
}

TEST_CASE("capacity reads the same in every protocol, sorted by client") {
  // {432802: {'computation': 162.0, 'communication': 5648.109619499134},
  //  7: {'computation': 20, 'communication': 0.5}}
  const std::map<int, std::string> pickles = {
      {0, bytes("(dp0\nI432802\n(dp1\nVcomputation\np2\nF162.0\nsVcommunication\np3\nF5648."
                "109619499134\nssI7\n(dp4\ng2\nI20\nsg3\nF0.5\nss.")},
      {2, bytes("\200\002}q\000(J\242\232\006\000}q\001(X\013\000\000\000computationq\002G@d@"
                "\000\000\000\000\000X\015\000\000\000communicationq\003G@"
                "\266\020\034\020\006\003\311uK\007}q\004("
                "h\002K\024h\003G\?\340\000\000\000\000\000\000uu.")},
      {4, bytes("\200\004\225S\000\000\000\000\000\000\000}\224(J\242\232\006\000}\224("
                "\214\013computation\224G@d@\000\000\000\000\000\214\015communication\224G@"
                "\266\020\034\020\006\003\311uK\007}\224("
                "h\002K\024h\003G\?\340\000\000\000\000\000\000uu.")},
      {5, bytes("\200\005\225S\000\000\000\000\000\000\000}\224(J\242\232\006\000}\224("
                "\214\013computation\224G@d@\000\000\000\000\000\214\015communication\224G@"
                "\266\020\034\020\006\003\311uK\007}\224("
                "h\002K\024h\003G\?\340\000\000\000\000\000\000uu.")}};
  for (const auto& [protocol, pickle] : pickles) {
    CAPTURE(protocol);
    const FedScaleTable table = table_of(pickle);
    CHECK(table.kind == "capacity");
    CHECK(table.csv ==
          "client_id,computation_ms_per_sample,communication_kbit_s\n7,20,0.5\n"
          "432802,162,5648.109619499134\n");
    CHECK(table.clients == 2);
    CHECK(table.period_s == 0);
  }
}

TEST_CASE("intervals are sorted, merged where they overlap or touch, and cut to the period") {
  // As pairs: 60-70, 10-20, 15-30, 30-35, 40-40 (empty), 50-45 (never), -5-3, 90-120, 100-110
  // (outside). Left: 0-3, 10-35, 60-70, 90-100.
  const FedScaleTable table = table_of(
      "(" + client_text("3", "60 10 15 30 40 50 -5 90 100", "70 20 30 35 40 45 3 120 110", "100") +
      "d.");
  CHECK(table.csv == "client_id,start_s,end_s\n3,0,3\n3,10,35\n3,60,70\n3,90,100\n");
  CHECK(table.intervals == 4);
  CHECK(table.empty == 3);
}

TEST_CASE("of different periods the largest is told; each client keeps to its own") {
  const FedScaleTable table =
      table_of("(" + client_text("1", "5", "30", "20") + client_text("-2", "5.5", "30", "25.5") +
               client_text("3", "7", "7", "10") + "d.");
  CHECK(table.period_s == 25.5);
  CHECK_FALSE(table.same_period);
  CHECK(table.csv == "client_id,start_s,end_s\n-2,5.5,25.5\n1,5,20\n");
  CHECK(table.clients == 3);
  CHECK(table.never_on == 1);
  CHECK(table.empty == 1);
}

TEST_CASE("a long list that all clients share is refused before the table fills the memory") {
  // {0: {'active': l, 'inactive': l, 'finish_time': 9}, 1: ..} with one l of 100,000 zeros, by 300
  // clients: 30 million intervals in a file of 0.2 MB.
  std::string pickle = "](";
  for (int i = 0; i < 100'000; ++i) pickle += bytes("K\000");
  pickle += bytes("eq\0000(");
  for (int i = 0; i < 300; ++i) {
    pickle += "I" + std::to_string(i + 2) + "\n" +
              bytes("(U\006activeh\000U\010inactiveh\000U\013finish_timeK\011d");
  }
  CHECK_THAT(problem_of(pickle + "d."),
             Contains("client 202: key 'active': with this client the trace has more than "
                      "20000000 intervals"));
}

TEST_CASE("what is no trace of FedScale's is refused with client and key") {
  const auto availability = [](const std::string& active, const std::string& inactive,
                               const std::string& finish_time) {
    return "(" + client_text("5", active, inactive, finish_time) + "d.";
  };
  std::string many_keys = "(I5\n(";
  for (int i = 0; i < 51; ++i) many_keys += "Vactive" + std::to_string(i) + "\nN";
  const std::pair<std::string, std::string> problems[] = {
      {"N.", "t.pkl: holds None: FedScale's client_behave_trace"},
      {"}.", "t.pkl: holds a dict of 0: "},
      {"]K\001a.", "t.pkl: holds a list of 1: "},
      {"(I5\nNd.", "t.pkl: client 5: a dict of at most 50 keys is needed here, not None"},
      {many_keys + "dd.", "client 5: a dict of at most 50 keys is needed here, not a dict of 51"},
      {"(Va\n}d.", "the text 'a' where a client's number must be"},
      {"(\210}d.", "True where a client's number must be"},
      {"(I5\n(Vspeed\nI1\ndd.", "client 5: a dict of 1 without any of the keys"},
      {"(I5\n(Vactive\n]dd.", "client 5: key 'finish_time': is missing"},
      {"(I5\n(Vfinish_time\nI9\nVactive\n]dd.", "client 5: key 'inactive': is missing"},
      {"(I5\n(Vfinish_time\nI9\nVactive\nI3\ndd.",
       "client 5: key 'active': 3 where a list of seconds must be"},
      {availability("1 2", "3", "9"), "client 5: key 'inactive': 1 times, 'active' has 2"},
      {availability("1 nan", "3 4", "9"), "client 5: key 'active[1]': nan where a finite number"},
      {availability("1", "inf", "9"), "client 5: key 'inactive[0]': inf where a finite number"},
      {availability("1", "3", "0"), "client 5: key 'finish_time': a trace of 0 s"},
      {availability("1", "3", "-1"), "client 5: key 'finish_time': -1 where a number from 0 on"},
      {availability("1", "3", "inf"), "client 5: key 'finish_time': inf where"},
      {capacity_text("Vfast\n", "I1\n"), "key 'computation': the text 'fast' where a number"},
      {capacity_text("I1\n", "F-0.5\n"), "key 'communication': -0.5 where a number from 0 on"},
      {capacity_text("\210", "I1\n"), "key 'computation': True where a number"},
      {"(I5\n(Vcomputation\nI1\ndd.", "client 5: key 'communication': is missing"}};
  for (const auto& [pickle, text] : problems) {
    CAPTURE(pickle);
    CHECK_THAT(problem_of(pickle), Contains(text));
  }
}
