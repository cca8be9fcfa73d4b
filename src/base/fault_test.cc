// SPDX-License-Identifier: Apache-2.0
#include "base/fault.h"

#include <gtest/gtest.h>

namespace duly {
namespace {

TEST(Faults, ListsEveryFaultWithItsPlace) {
  Faults faults;
  EXPECT_TRUE(faults.ToStatus().ok());
  faults.Add({"a.yaml", 3, 7, "unknown key 'bacth'", "one of: batch"});
  faults.Add({"b.yaml", 0, 0, "the file is empty", ""});
  EXPECT_EQ(faults.ToStatus().message(),
            "a.yaml:3:7: unknown key 'bacth': expected one of: batch\n"
            "b.yaml: the file is empty");
}

TEST(Fault, StaysOnOneLine) {
  EXPECT_EQ((Fault{"a\n.yaml", 1, 2, "unknown key 'x\x1b[31m'", "one of: \ty"}).ToString(),
            "a?.yaml:1:2: unknown key 'x?[31m': expected one of: ?y");
}

TEST(Faults, SortByPlaceAndKeepTheOrderWithinOne) {
  Faults faults;
  faults.Add({"b.yaml", 1, 1, "fourth", ""});
  faults.Add({"a.yaml", 3, 2, "second", ""});
  faults.Add({"a.yaml", 3, 2, "third", ""});
  faults.Add({"a.yaml", 3, 1, "first", ""});
  faults.Sort();
  EXPECT_EQ(faults.ToString(),
            "a.yaml:3:1: first\na.yaml:3:2: second\na.yaml:3:2: third\nb.yaml:1:1: fourth");
}

}  // namespace
}  // namespace duly
