// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <gtest/gtest.h>

namespace duly {
namespace {

TEST(FormatTable, AlignsCellsUnderTheirTitles) {
  EXPECT_EQ(FormatTable({{"name", TableColumn::Align::kLeft, {"a", "longer"}},
                         {"n", TableColumn::Align::kRight, {"10", "7"}},
                         {"note", TableColumn::Align::kLeft, {"x", ""}}}),
            "name     n  note\n"
            "a       10  x\n"
            "longer   7\n");
}

TEST(QuoteCsv, QuotesOnlyWhatMustBe) {
  EXPECT_EQ(QuoteCsv("plain text"), "plain text");
  EXPECT_EQ(QuoteCsv("a,b"), "\"a,b\"");
  EXPECT_EQ(QuoteCsv("say \"hi\"\n"), "\"say \"\"hi\"\"\n\"");
}

}  // namespace
}  // namespace duly
