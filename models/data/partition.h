// How training rows are spread over clients: who holds which row. Every row goes to exactly one
// client.
//
//   IID          rows are shuffled and dealt in turn: sizes differ by at most one.
//   Dirichlet    for each class c, the clients' shares are p_c ~ Dirichlet(alpha) (Hsu et al.,
//                arXiv 1909.06335), where a client that already has rows / clients rows or more
//                gets no more (the rule of the code of Li et al., arXiv 2102.02079). Drawn again
//                while a client has fewer than min_rows, then repaired by moving rows from the
//                largest clients.
//   pathological each client holds at most k classes (McMahan et al., arXiv 1602.05629, without
//                shards that straddle two classes). Classes are given to clients so that shares of
//                all classes have about the same size.
//   domain       client i holds domain i mod D of the D domains in alphabetical (byte) order; a
//                domain's rows are dealt to its clients in turn, so that their sizes differ by at
//                most one. With fewer clients than domains, client i holds all rows of the domains
//                i, i + clients, i + 2 clients, ...
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/data/row.h"

namespace fedclock::data {

struct PartitionSpec {
  enum Kind { kIid, kDirichlet, kPathological, kDomain };
  Kind kind = kIid;
  double alpha = 0.5;          // Dirichlet's concentration, above 0
  int classes_per_client = 2;  // pathological: 1 to the number of classes
  int min_rows = 10;           // rows that every client has at least; scenarios: from 1
  uint64_t seed = 1;
};

// [client] -> positions in dataset.rows, ascending.
using Partition = std::vector<std::vector<int32_t>>;

// Throws InputError when there are too few rows, when the kind needs labels or domains that the
// rows lack, when alpha or classes_per_client are out of range, when `clients` times
// `classes_per_client` is below the number of classes (rows would be left out), or when the
// pathological or domain rule leaves a client with fewer than min_rows.
Partition partition(const Dataset& dataset, int clients, const PartitionSpec& spec);

// [client][class] -> rows. Rows without label are not counted.
std::vector<std::vector<int64_t>> class_table(const Dataset& dataset, const Partition& partition);

// The table as aligned text: a line a client, a column a class, totals. More than 16 classes are
// headed by their numbers, with the names below the table.
std::string format_class_table(const Dataset& dataset, const Partition& partition);

struct RowSplit {
  std::vector<int32_t> train, test;  // ascending
};
// Holds out round(fraction * rows) of a client's rows, and at least so many, drawn at random for
// the purpose; at least one row is kept for training. `fraction` is from 0 to below 1.
RowSplit split_rows(const std::vector<int32_t>& rows_of_client, double fraction, uint64_t seed,
                    int client, const std::string& purpose = "client test rows",
                    int64_t at_least = 0);

}  // namespace fedclock::data
