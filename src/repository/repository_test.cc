// SPDX-License-Identifier: Apache-2.0
#include "repository/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "base/temp_folder_test_util.h"

namespace duly {
namespace {

using std::chrono::milliseconds;

class Repository : public testing::Test {
 protected:
  std::vector<ModelSpec> Read(const std::string& model) {
    faults_ = Faults();
    return ReadModel(folder_.At(model), faults_);
  }
  // Faults, with the test's folder as "repo".
  std::string FaultText() const {
    std::string text = faults_.ToString();
    for (std::size_t at; (at = text.find(folder_.path())) != std::string::npos;) {
      text.replace(at, folder_.path().size(), "repo");
    }
    return text;
  }
  std::vector<std::int64_t> Versions(const std::string& model) {
    std::vector<std::int64_t> versions;
    for (const ModelSpec& spec : Read(model)) versions.push_back(spec.version);
    return versions;
  }

  TempFolder folder_;
  Faults faults_;
};

TEST_F(Repository, ModelWithoutConfigurationHasNameVersionAndFile) {
  folder_.Write("m/1/model.onnx", "");
  const std::vector<ModelSpec> specs = Read("m/");
  EXPECT_EQ(FaultText(), "");
  ASSERT_EQ(specs.size(), 1u);
  const ModelSpec& spec = specs[0];
  EXPECT_EQ(spec.name, "m");
  EXPECT_EQ(spec.version, 1);
  EXPECT_EQ(spec.config_file, "");
  EXPECT_TRUE(spec.rows_from_file);
  EXPECT_TRUE(spec.inputs.empty());
  ASSERT_EQ(spec.variants.size(), 1u);
  EXPECT_EQ(spec.variants[0].name, "default");
  EXPECT_EQ(spec.variants[0].file, folder_.At("m/1/model.onnx"));
}

TEST_F(Repository, AConfigurationAsJsonReplacesTheFile) {
  folder_.Write("m/config.pbtxt", "broken");
  folder_.Write("m/1/model.onnx", "");
  const auto read = [&](const std::string& json) {
    faults_ = Faults();
    return ReadModel(folder_.At("m"), faults_, json);
  };
  const std::vector<ModelSpec> specs =
      read(R"({"maxBatchSize": 4, "instance_group": [{"count": 2}]})");
  EXPECT_EQ(FaultText(), "");
  ASSERT_EQ(specs.size(), 1u);
  EXPECT_EQ(specs[0].max_rows, 4u);
  EXPECT_EQ(specs[0].instances, 2u);
  EXPECT_TRUE(read(R"({"instance_group": [{"count": -1}], "ensemble_scheduling": {}})").empty());
  EXPECT_NE(FaultText().find("parameter 'config': "), std::string::npos);
  EXPECT_NE(FaultText().find("ensemble"), std::string::npos);
  EXPECT_TRUE(read("{").empty());
  EXPECT_NE(FaultText().find("expected a ModelConfig as JSON"), std::string::npos);
}

TEST_F(Repository, AFingerprintChangesWithTheFolder) {
  folder_.Write("m/1/model.onnx", "abc");
  const std::string m = folder_.At("m");
  const std::uint64_t before = FolderFingerprint(m);
  EXPECT_EQ(FolderFingerprint(m), before);
  folder_.Write("m/1/model.onnx", "abcd");
  const std::uint64_t longer = FolderFingerprint(m);
  EXPECT_NE(longer, before);
  folder_.Write("m/2/model.onnx", "");
  EXPECT_NE(FolderFingerprint(m), longer);
}

TEST_F(Repository, CopyNeedsNoFile) {
  folder_.Write("m/config.pbtxt",
                "backend: 'copy' input {name: 'x' data_type: TYPE_FP32 dims: 4} "
                "output {name: 'y' data_type: TYPE_FP32 dims: 4}");
  folder_.Write("m/1/notes.txt", "");
  const std::vector<ModelSpec> specs = Read("m");
  EXPECT_EQ(FaultText(), "");
  ASSERT_EQ(specs.size(), 1u);
  EXPECT_EQ(specs[0].backend, "copy");
  EXPECT_EQ(specs[0].variants.front().file, "");
}

TEST_F(Repository, APlugInGetsAFileOrTheVersionsFolder) {
  folder_.Write("m/config.pbtxt", "backend: 'plug-in'");
  folder_.Write("m/1/weights.bin", "");
  const std::vector<ModelSpec> whole = Read("m");
  EXPECT_EQ(FaultText(), "");
  ASSERT_EQ(whole.size(), 1u);
  EXPECT_EQ(whole[0].backend, "plug-in");
  EXPECT_EQ(whole[0].platform, "plug-in");
  EXPECT_EQ(whole[0].variants.front().file, folder_.At("m/1"));

  folder_.Write("m/config.pbtxt", "backend: 'plug-in' default_model_filename: 'weights.bin'");
  const std::vector<ModelSpec> file = Read("m");
  EXPECT_EQ(FaultText(), "");
  ASSERT_EQ(file.size(), 1u);
  EXPECT_EQ(file[0].variants.front().file, folder_.At("m/1/weights.bin"));
}

TEST_F(Repository, JoinsConfigurationVariantsAndFiles) {
  folder_.Write("m/config.pbtxt",
                "name: 'm' max_batch_size: 4 default_model_filename: 'b.onnx' "
                "dynamic_batching { default_queue_policy { default_timeout_microseconds: 5000 } } "
                "model_warmup { count: 7 }");
  folder_.Write("m/duly.yaml",
                "slo: 50ms\nvariants: [{name: a, file: a.onnx}, {name: b, file: b.onnx}]\n");
  folder_.Write("m/2/a.onnx", "");
  folder_.Write("m/2/b.onnx", "");
  std::vector<ModelSpec> specs = Read("m");
  EXPECT_EQ(FaultText(), "");
  ASSERT_EQ(specs.size(), 1u);
  EXPECT_EQ(specs[0].version, 2);
  EXPECT_EQ(specs[0].max_rows, 4u);
  EXPECT_EQ(specs[0].slo, milliseconds(50));
  EXPECT_EQ(specs[0].timeout, milliseconds(5));
  EXPECT_EQ(specs[0].warmup_runs, 7u);
  EXPECT_EQ(specs[0].config_file, folder_.At("m/config.pbtxt"));
  ASSERT_EQ(specs[0].variants.size(), 2u);
  EXPECT_EQ(specs[0].variants[1].file, folder_.At("m/2/b.onnx"));
  EXPECT_EQ(specs[0].default_variant, 1u) << "that of default_model_filename";

  folder_.Write("m/duly.yaml",
                "default_variant: a\ntimeout: 9ms\nwarmup: 0\n"
                "variants: [{name: a, file: a.onnx}, {name: b, file: b.onnx}]\n");
  specs = Read("m");
  ASSERT_EQ(specs.size(), 1u);
  EXPECT_EQ(specs[0].default_variant, 0u);
  EXPECT_EQ(specs[0].timeout, milliseconds(9));
  EXPECT_EQ(specs[0].warmup_runs, 0u);
}

TEST_F(Repository, VersionPolicyChoosesAmongNumberedFolders) {
  for (const char* version : {"1", "2", "10", "01", "0", "-3", "x4", "99999999999999999999"}) {
    folder_.Write(std::string("m/") + version + "/model.onnx", "");
  }
  folder_.Write("m/11", "a file");
  EXPECT_EQ(Versions("m"), (std::vector<std::int64_t>{10}));
  folder_.Write("m/config.pbtxt", "version_policy { latest { num_versions: 2 } }");
  EXPECT_EQ(Versions("m"), (std::vector<std::int64_t>{2, 10}));
  folder_.Write("m/config.pbtxt", "version_policy { latest { num_versions: 4000000000 } }");
  EXPECT_EQ(Versions("m"), (std::vector<std::int64_t>{1, 2, 10}));
  folder_.Write("m/config.pbtxt", "version_policy { all {} }");
  EXPECT_EQ(Versions("m"), (std::vector<std::int64_t>{1, 2, 10}));
  folder_.Write("m/config.pbtxt", "version_policy { specific { versions: [ 10, 1, 10 ] } }");
  EXPECT_EQ(Versions("m"), (std::vector<std::int64_t>{1, 10}));
  EXPECT_EQ(FaultText(), "");
  folder_.Write("m/config.pbtxt", "version_policy { specific { versions: [ 1, 3 ] } }");
  EXPECT_EQ(Versions("m"), (std::vector<std::int64_t>{}));
  EXPECT_EQ(FaultText(),
            "repo/m/config.pbtxt:1:29: there is no version 3: expected one of: 1, 2, 10");
}

TEST_F(Repository, FilesThatAreMissingAreFaultsWhereTheyAreNamed) {
  folder_.Write("none/1/other.onnx", "");
  EXPECT_TRUE(Read("none").empty());
  EXPECT_EQ(FaultText(),
            "repo/none/1: there is no model.onnx: expected an ONNX model of this name");

  folder_.Write("named/1/model.onnx", "");
  folder_.Write("named/config.pbtxt", "\ndefault_model_filename: 'net.onnx'");
  EXPECT_TRUE(Read("named").empty());
  EXPECT_EQ(FaultText(),
            "repo/named/config.pbtxt:2:1: there is no 'net.onnx' in repo/named/1: expected a file "
            "in every served version's folder");

  folder_.Write("variants/1/a.onnx", "");
  folder_.Write("variants/2/b.onnx", "");
  folder_.Write("variants/config.pbtxt",
                "version_policy { all {} } default_model_filename: 'c.onnx'");
  folder_.Write("variants/duly.yaml",
                "variants:\n  - {name: a, file: a.onnx}\n  - {name: b, file: b.onnx}\n");
  EXPECT_TRUE(Read("variants").empty());
  EXPECT_EQ(FaultText(),
            "repo/variants/config.pbtxt:1:27: default_model_filename is 'c.onnx', which is no "
            "variant's file in duly.yaml: expected the file of a variant\n"
            "repo/variants/duly.yaml:3:21: there is no 'b.onnx' in repo/variants/1: expected a "
            "file in every served version's folder\n"
            "repo/variants/duly.yaml:2:21: there is no 'a.onnx' in repo/variants/2: expected a "
            "file in every served version's folder");

  folder_.Write("folder/1/model.onnx/weights", "");
  EXPECT_TRUE(Read("folder").empty());
  EXPECT_EQ(FaultText(),
            "repo/folder/1: there is no model.onnx: expected an ONNX model of this name");

  folder_.Write("empty/readme", "");
  EXPECT_TRUE(Read("empty").empty());
  EXPECT_EQ(FaultText(),
            "repo/empty: the model has no version: expected a folder such as 1/ with model.onnx");
}

TEST_F(Repository, NamesThatAddressesCannotHaveAreRefused) {
  folder_.Write("stats/1/model.onnx", "");
  EXPECT_TRUE(Read("stats").empty());
  EXPECT_EQ(FaultText(),
            "repo/stats: a model cannot be called 'stats', which is an address of the server: "
            "expected another name");
  folder_.Write("a\nb/1/model.onnx", "");
  EXPECT_TRUE(Read("a\nb").empty());
  EXPECT_EQ(FaultText(),
            "repo/a?b: 'a?b' cannot be the name of a model: expected a name in UTF-8 without "
            "control characters");
  folder_.Write("\xE9/1/model.onnx", "");
  EXPECT_TRUE(Read("\xE9").empty());
  EXPECT_THAT(FaultText(), testing::HasSubstr("expected a name in UTF-8"));
}

TEST_F(Repository, RepositoriesAreReadTogetherAndGoodModelsSurviveBadOnes) {
  folder_.Write("r1/b/1/model.onnx", "");
  folder_.Write("r1/b/2/model.onnx", "");
  folder_.Write("r1/b/config.pbtxt", "version_policy { all {} }");
  folder_.Write("r1/bad/1/model.onnx", "");
  folder_.Write("r1/bad/config.pbtxt", "backend: 'python'");
  folder_.Write("r1/.git/config", "");
  folder_.Write("r1/readme.md", "");
  folder_.Write("r2/a/1/model.onnx", "");
  folder_.Write("r2/b/1/model.onnx", "");
  const std::vector<std::string> folders{folder_.At("r1"), folder_.At("r2"), folder_.At("r3")};
  const std::vector<ModelSpec> specs = ReadRepositories(folders, faults_);
  std::string names;
  for (const ModelSpec& spec : specs) names += spec.name + std::to_string(spec.version) + " ";
  EXPECT_EQ(names, "a1 b1 b2 ");
  EXPECT_EQ(FaultText(),
            "repo/r1/bad/config.pbtxt:1:1: backend 'python' is not served: expected onnxruntime, "
            "copy or plug-in\n"
            "repo/r2/b: model 'b' is in repo/r1/b too: expected each model in one repository\n"
            "repo/r3: cannot be read: No such file or directory: expected a folder");
}

TEST_F(Repository, TenFaultsOfOneModelAreTenLines) {
  folder_.Write("m/1/a.onnx", "");
  folder_.Write("m/config.pbtxt",
                "name: 'n'\n"
                "backend: 'python'\n"
                "max_batchsize: 8\n"
                "input [ { name: 'x' data_type: TYPE_FP32 dims: [ 0 ] } ]\n"
                "instance_group { kind: KIND_GPU }\n");
  folder_.Write("m/duly.yaml",
                "slo: 50\n"
                "warmpu: 2\n"
                "default_variant: z\n"
                "variants:\n"
                "  - {name: a, file: a.onnx, memory: much}\n"
                "  - {name: a, file: a.onnx}\n");
  EXPECT_TRUE(Read("m").empty());
  const std::string text = FaultText();
  EXPECT_EQ(faults_.all().size(), 10u) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 9);
  for (const Fault& fault : faults_.all()) {
    EXPECT_GT(fault.line, 0) << fault.ToString();
    EXPECT_GT(fault.column, 0) << fault.ToString();
    EXPECT_FALSE(fault.expected.empty()) << fault.ToString();
  }
}

}  // namespace
}  // namespace duly
