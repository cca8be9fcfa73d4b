// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace duly {

// One thing wrong in a file that a person wrote.
struct Fault {
  std::string file;
  int line = 0;          // from 1; 0 when the fault is about the whole file
  int column = 0;        // from 1; 0 when unknown
  std::string what;      // "unknown key 'bacth'"
  std::string expected;  // "one of: batch, slots"

  // "file:line:column: what: expected ..."; parts that are unknown are left out.
  std::string ToString() const;
};

// Collects every fault of a start instead of stopping at the first one.
class Faults {
 public:
  void Add(Fault fault) { faults_.push_back(std::move(fault)); }
  void Append(Faults other);
  bool empty() const { return faults_.empty(); }
  const std::vector<Fault>& all() const { return faults_; }
  // One fault a line.
  std::string ToString() const;
  // kInvalidArgument with every fault, or success.
  Status ToStatus() const;

 private:
  std::vector<Fault> faults_;
};

}  // namespace duly
