// Readers of labelled rows (JSON Lines, TSV, CSV with a header line) and of plain text.
//
// A label is an integer from 0 or a string. Where the scenario names the classes, a string must be
// one of them and an integer its position; a TSV or CSV value, which has no type, is first looked
// up as a name. Where it does not, integers give the classes "0" to the largest one, and strings
// the distinct strings in alphabetical (byte) order. All errors of the user are InputErrors
// "file:line: field 'x': value: remedy"; a file that is not UTF-8 is one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "models/data/instructions.h"
#include "models/data/row.h"

namespace fedclock::data {

struct TableSpec {
  std::filesystem::path file;  // .jsonl, .tsv or .csv; the caller puts the data folder before it
  std::string text_field = "text";
  std::string pair_field;             // empty: single texts
  std::string label_field = "label";  // empty: rows have no labels
  std::string domain_field;           // empty: no domains
  std::set<std::string>
      domains{};  // only rows of these are kept, and each must have one; empty: all
  std::vector<std::string> classes;  // names in label order; empty: taken from the labels
  InstructionSpec instruction{};     // with a prompt, which takes the place of the texts
};

// Rows in file order; the classes are those of this file alone.
Dataset read_table(const TableSpec& spec);

struct TrainAndTest {
  Dataset train, test;  // with equal classes
};
// Reads spec.file and test_file, which has the same fields, with one list of classes. Where the
// scenario does not name the classes, a class without a training row (a hole in the integers, or a
// label that only the test file has) is an InputError: it could not be learnt.
TrainAndTest read_train_and_test(const TableSpec& spec, const std::filesystem::path& test_file);

// Keeps `count` rows, drawn without replacement, in file order. 0, or a count of at least the
// number of rows, keeps all.
void sample_rows(Dataset& dataset, int64_t count, uint64_t seed);

// Takes `count` rows out, drawn without replacement, and returns them, both in file order.
// InputError where none would be left.
Dataset hold_out(Dataset& dataset, int64_t count, uint64_t seed);

// The texts of the files, in order, empty ones left out. .txt: a paragraph a line. .jsonl, .tsv
// and .csv: the named fields of each row, or, when `fields` is empty, every string field (in TSV
// and CSV: every value that is not a number). A row may lack a named field, but a field that is
// in no row of any table is an InputError. Of each file at most `max_bytes_per_file` bytes are
// read (0: all), down to the last whole line.
std::vector<std::string> read_corpus(const std::vector<std::filesystem::path>& files,
                                     const std::vector<std::string>& fields,
                                     int64_t max_bytes_per_file);

}  // namespace fedclock::data
