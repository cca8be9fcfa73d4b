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

}  // namespace
}  // namespace duly
