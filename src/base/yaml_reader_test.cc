// SPDX-License-Identifier: Apache-2.0
#include "base/yaml_reader.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/temp_folder_test_util.h"

namespace duly {
namespace {

using std::chrono::milliseconds;

std::string FaultsOf(const std::string& text, const std::function<void(YamlMap&)>& read) {
  Faults faults;
  ReadYaml(text, "f.yaml", faults, read);
  return faults.ToString();
}

// Of a file with one key, read by `read`.
std::string FaultsOfValue(const std::string& value, const std::function<void(YamlValue)>& read) {
  return FaultsOf("key: " + value, [&](YamlMap& root) { read(root["key"]); });
}

TEST(YamlReader, ReadsEveryKindOfValue) {
  const std::string text =
      "text: a b\n"
      "quoted: \"12\"\n"
      "integer: -3\n"
      "number: 1.5\n"
      "truth: true\n"
      "duration: 20ms\n"
      "size: 8MiB\n"
      "rate: 600/min\n"
      "choice: two\n"
      "list: [1, 2]\n"
      "map: {b: 1, a: 2}\n";
  const std::string faults = FaultsOf(text, [](YamlMap& root) {
    EXPECT_EQ(root["text"].AsText(), "a b");
    EXPECT_EQ(root["quoted"].AsText(), "12");
    EXPECT_EQ(root["integer"].AsInteger(-3, 3), -3);
    EXPECT_EQ(root["number"].AsNumber(0, 1.5), 1.5);
    EXPECT_EQ(root["truth"].AsBool(), true);
    EXPECT_EQ(root["duration"].AsPositiveDuration(), milliseconds(20));
    EXPECT_EQ(root["size"].AsSize(), 8u << 20);
    EXPECT_EQ(root["rate"].AsRate(), 10);
    EXPECT_EQ(root["choice"].AsChoice<int>({{"one", 1}, {"two", 2}}), 2);
    std::vector<std::uint32_t> list;
    for (const YamlValue& item : root["list"].AsList()) list.push_back(*item.AsCount(1, 2));
    EXPECT_EQ(list, (std::vector<std::uint32_t>{1, 2}));
    YamlMap map = root["map"].AsMap();
    std::string keys;
    for (const auto& [key, value] : map.Rest()) keys += key + *value.AsText();
    EXPECT_EQ(keys, "b1a2");
  });
  EXPECT_EQ(faults, "");
}

TEST(YamlReader, AbsentOptionalValuesAreNothing) {
  EXPECT_EQ(FaultsOf("a: 1",
                     [](YamlMap& root) {
                       root["a"].AsText();
                       EXPECT_FALSE(root["b"].present());
                       EXPECT_EQ(root["b"].AsText(), std::nullopt);
                       EXPECT_EQ(root["b"].AsDuration(), std::nullopt);
                       EXPECT_EQ(root["b"].AsBool(), std::nullopt);
                       EXPECT_TRUE(root["b"].AsList().empty());
                       YamlMap map = root["b"].AsMap();
                       EXPECT_FALSE(map.present());
                       EXPECT_EQ(map.Required("c").AsText(), std::nullopt);
                     }),
            "");
}

TEST(YamlReader, MissingRequiredValuesNameTheMap) {
  EXPECT_EQ(FaultsOf("list:\n  - {a: 1}\n",
                     [](YamlMap& root) {
                       for (const YamlValue& item : root["list"].AsList()) {
                         YamlMap map = item.AsMap();
                         map["a"].AsText();
                         map.Required("name").AsText();
                         map.Required("slo").AsDuration();
                       }
                       root.Required("rest").AsMap();
                     }),
            "f.yaml:1:1: 'rest' is missing: expected a map\n"
            "f.yaml:2:5: 'name' is missing: expected text of one line\n"
            "f.yaml:2:5: 'slo' is missing: expected a duration, such as 250us, 20ms or 1.5s");
}

TEST(YamlReader, UnknownKeysListTheKnownOnesInEveryMap) {
  EXPECT_EQ(FaultsOf("solts: 1\nmap:\n  x: 1\nslots: 2\n",
                     [](YamlMap& root) {
                       root["slots"].AsText();
                       YamlMap map = root["map"].AsMap();
                       map["threads"].AsText();
                     }),
            "f.yaml:1:1: unknown key 'solts' (did you mean 'slots'?): expected one of: slots, map\n"
            "f.yaml:3:3: unknown key 'x': expected one of: threads");
}

TEST(YamlReader, ValuesOutOfRangeSayWhatIsExpected) {
  using V = YamlValue;
  EXPECT_EQ(FaultsOfValue("4", [](V v) { v.AsCount(1, 3); }),
            "f.yaml:1:6: key is '4': expected an integer from 1 to 3");
  EXPECT_EQ(FaultsOfValue("99999999999999999999", [](V v) { v.AsInteger(-3, 3); }),
            "f.yaml:1:6: key is '99999999999999999999': expected an integer from -3 to 3");
  EXPECT_EQ(FaultsOfValue("1.5x", [](V v) { v.AsNumber(0, 100); }),
            "f.yaml:1:6: key is '1.5x': expected a number from 0 to 100");
  EXPECT_EQ(FaultsOfValue("nan", [](V v) { v.AsNumber(0, 100); }),
            "f.yaml:1:6: key is 'nan': expected a number from 0 to 100");
  EXPECT_EQ(FaultsOfValue("inf", [](V v) { v.AsPositiveNumber(); }),
            "f.yaml:1:6: key is 'inf': expected a number above 0");
  EXPECT_EQ(FaultsOfValue("yes", [](V v) { v.AsBool(); }),
            "f.yaml:1:6: key is 'yes': expected one of: true, false");
  EXPECT_EQ(FaultsOfValue("20", [](V v) { v.AsDuration(); }),
            "f.yaml:1:6: key is '20': expected a duration, such as 250us, 20ms or 1.5s");
  EXPECT_EQ(FaultsOfValue("0", [](V v) { v.AsPositiveDuration(); }),
            "f.yaml:1:6: key is '0': expected a duration above 0, such as 250us, 20ms or 1.5s");
  EXPECT_EQ(FaultsOfValue("-1MiB", [](V v) { v.AsSize(); }),
            "f.yaml:1:6: key is '-1MiB': expected a size in bytes, such as 512, 64kB or 8MiB");
  EXPECT_EQ(FaultsOfValue("0MHz", [](V v) { v.AsFrequency(); }),
            "f.yaml:1:6: key is '0MHz': expected a frequency above 0, such as 921.6MHz or 1.5GHz");
  EXPECT_EQ(FaultsOfValue("1/d", [](V v) { v.AsRate(); }),
            "f.yaml:1:6: key is '1/d': expected a rate per second, such as 100 or 100/s");
  EXPECT_EQ(FaultsOfValue("''", [](V v) { v.AsText(); }),
            "f.yaml:1:6: key is '': expected text of one line");
}

TEST(YamlReader, ValuesOfAnotherKindSayWhatTheyAre) {
  using V = YamlValue;
  EXPECT_EQ(FaultsOfValue("", [](V v) { v.AsDuration(); }),
            "f.yaml:1:1: 'key' has no value: expected a duration, such as 250us, 20ms or 1.5s");
  EXPECT_EQ(FaultsOfValue("[1]", [](V v) { v.AsText(); }),
            "f.yaml:1:6: key is a list: expected text of one line");
  EXPECT_EQ(FaultsOfValue("{a: 1}", [](V v) { v.AsList(); }),
            "f.yaml:1:6: key is a map: expected a list");
  EXPECT_EQ(FaultsOfValue("[]", [](V v) { v.AsNonEmptyList(); }),
            "f.yaml:1:6: key is empty: expected at least one element");
  EXPECT_EQ(FaultsOfValue("[]", [](V v) { v.AsList(); }), "");
  EXPECT_EQ(FaultsOfValue("7", [](V v) { v.AsMap(); }), "f.yaml:1:6: key is '7': expected a map");
  EXPECT_EQ(FaultsOfValue("[a, [b]]",
                          [](V v) {
                            for (const V& item : v.AsList()) item.AsText();
                          }),
            "f.yaml:1:10: key[1] is a list: expected text of one line");
}

TEST(YamlReader, MessagesStayOnOneLine) {
  EXPECT_EQ(FaultsOfValue("\"a\\nb\\x1b\"", [](YamlValue v) { v.AsText(); }),
            "f.yaml:1:6: key is 'a?b?': expected text of one line");
  EXPECT_EQ(FaultsOfValue(std::string(100, 'a'), [](YamlValue v) { v.AsBool(); }),
            "f.yaml:1:6: key is '" + std::string(60, 'a') + "...': expected one of: true, false");
}

TEST(YamlReader, KeysGivenTwiceAreFaults) {
  EXPECT_EQ(FaultsOf("a: 1\nb: 2\na: 3\n",
                     [](YamlMap& root) {
                       EXPECT_EQ(root["a"].AsText(), "1");
                       root["b"].AsText();
                     }),
            "f.yaml:3:1: key 'a' is given again, after line 1: expected each key once");
  EXPECT_EQ(FaultsOf("[1]: 1\n", [](YamlMap&) {}),
            "f.yaml:1:1: a key is not a word: expected 'key: value'");
}

TEST(YamlReader, AliasesStandForTheirAnchors) {
  EXPECT_EQ(FaultsOf("a: &x {n: 1}\nb: *x\n",
                     [](YamlMap& root) {
                       root["a"].AsMap()["n"].AsText();
                       EXPECT_EQ(root["b"].AsMap()["n"].AsText(), "1");
                     }),
            "");
  EXPECT_EQ(FaultsOf("a: &x [*x]\n", [](YamlMap& root) { root["a"].AsList(); }),
            "f.yaml:1:8: an alias stands inside what it names: expected a finished value");
}

TEST(YamlReader, FilesThatAreNotOneMapAreNotRead) {
  const auto never = [](YamlMap&) { FAIL() << "read"; };
  EXPECT_EQ(FaultsOf("", never), "f.yaml: the file is empty: expected 'key: value' lines");
  EXPECT_EQ(FaultsOf("# nothing\n", never),
            "f.yaml: the file is empty: expected 'key: value' lines");
  EXPECT_EQ(FaultsOf("- a\n", never),
            "f.yaml:1:1: the file is not a map: expected 'key: value' lines");
  EXPECT_EQ(FaultsOf("a: 1\n---\nb: 1\n", never),
            "f.yaml:3:1: a second document: expected one document per file");
  EXPECT_EQ(FaultsOf("a: [1, 2\nb: 3\n", never).substr(0, 18), "f.yaml:2:2: not YA");
  // Newer versions of the parser add the name.
  EXPECT_EQ(FaultsOf("a: *x\n", never).substr(0, 58),
            "f.yaml:1:4: not YAML: the referenced anchor is not defined");
}

TEST(YamlReader, HostileFilesAreFaultsNotCrashes) {
  const auto read = [](YamlMap& root) {
    root["a"].AsList();
    root["b"].AsList();
  };
  EXPECT_NE(FaultsOf("a: " + std::string(100'000, '['), read), "");
  EXPECT_NE(FaultsOf("a: " + std::string(100'000, '{'), read), "");
  EXPECT_NE(FaultsOf(std::string("a: \0\xff\xfe", 6), read), "");
  std::string bomb = "a0: &a0 [x, x]\n";
  for (int i = 1; i < 100; ++i) {
    const std::string last = std::to_string(i - 1);
    const std::string name = std::to_string(i);
    bomb += "a" + name + ": &a" + name + " [*a" + last + ", *a" + last + "]\n";
  }
  EXPECT_NE(FaultsOf(bomb, read), "");
  std::string many;
  for (int i = 0; i < 2'000; ++i) many += "k" + std::to_string(i) + ": 1\n";
  EXPECT_EQ(FaultsOf(many, [](YamlMap& root) { EXPECT_EQ(root.Rest().size(), 2'000u); }), "");
}

TEST(YamlReader, PathsAreRelativeToTheFile) {
  const TempFolder folder;
  folder.Write("there", "x");
  const std::string file = folder.Write("f.yaml", "a: there\nb: gone\n");
  Faults faults;
  LoadYaml(file, faults, [&](YamlMap& root) {
    EXPECT_EQ(root["a"].AsFile(), folder.At("there"));
    EXPECT_EQ(root["b"].AsFile(), std::nullopt);
  });
  LoadYaml(folder.At("none.yaml"), faults, [](YamlMap&) { FAIL() << "read"; });
  EXPECT_EQ(faults.ToString(),
            file + ":2:4: b is 'gone': expected a file that is there, by its path from this one\n" +
                folder.At("none.yaml") + ": cannot be read: No such file or directory");
}

}  // namespace
}  // namespace duly
