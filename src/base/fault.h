// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace duly {

// Where something stands in a file that a person wrote.
struct Place {
  std::string file;
  int line = 0;    // from 1; 0 when it is about the whole file
  int column = 0;  // from 1; 0 when unknown

  friend bool operator==(const Place&, const Place&) = default;
};

// One thing wrong in such a file.
struct Fault {
  std::string file;
  int line = 0;
  int column = 0;
  std::string what;      // "unknown key 'bacth'"
  std::string expected;  // "one of: batch, slots"

  // "file:line:column: what: expected ..."; parts that are unknown are left out.
  std::string ToString() const;
};

// Collects every fault of a start instead of stopping at the first one.
class Faults {
 public:
  void Add(Fault fault) { faults_.push_back(std::move(fault)); }
  void Add(const Place& place, std::string what, std::string expected) {
    Add({place.file, place.line, place.column, std::move(what), std::move(expected)});
  }
  void Append(Faults other);
  bool empty() const { return faults_.empty(); }
  const std::vector<Fault>& all() const { return faults_; }
  // By file, line and column; those of one place keep their order.
  void Sort();
  // One fault a line.
  std::string ToString() const;
  // kInvalidArgument with every fault, or success.
  Status ToStatus() const;

 private:
  std::vector<Fault> faults_;
};

}  // namespace duly
