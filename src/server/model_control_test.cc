// SPDX-License-Identifier: Apache-2.0
#include "server/model_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "backend/registry.h"
#include "base/temp_folder_test_util.h"
#include "policy/registry.h"

namespace duly {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kCopy =
    "backend: 'copy' input {name: 'x' data_type: TYPE_FP32 dims: 4} "
    "output {name: 'y' data_type: TYPE_FP32 dims: 4}";

class ModelControlTest : public testing::Test {
 protected:
  ModelControlTest() {
    NodeOptions options;
    NodeDevice device;
    device.spec.name = "cpu";
    device.spec.slots = 1;
    device.backend = MakeBackend(device.spec).value();
    options.devices.push_back(std::move(device));
    options.policy = MakeDispatchPolicy("edf", {}).value();
    node_ = Node::Start(std::move(options)).value();
  }
  ModelControl& Start(ModelControlMode mode) {
    ModelControlOptions options;
    options.repositories = {repository_.path()};
    options.mode = mode;
    options.poll_every = std::chrono::hours(1);
    options.check = check_;
    return control_.emplace(std::move(options), *node_);
  }
  void AddCopy(const std::string& name, int version = 1) {
    repository_.Write(name + "/config.pbtxt", kCopy);
    repository_.Write(name + "/" + std::to_string(version) + "/notes.txt", "");
  }
  std::vector<std::string> Served() const {
    std::vector<std::string> names;
    for (const auto& model : node_->Models()) {
      names.push_back(model->spec.name + "/" + std::to_string(model->spec.version));
    }
    return names;
  }
  // "name/version state reason", a line each.
  std::string Index(bool ready_only = false) {
    const inference::RepositoryIndexResponse index = control_->Index(ready_only);
    std::string text;
    for (const auto& model : index.models()) {
      text += model.name() + "/" + model.version() + " " + model.state() + " " + model.reason();
      text += '\n';
    }
    return text;
  }
  void AwaitLeft() {
    const TimePoint end = node_->Now() + std::chrono::seconds(10);
    while (!node_->Leaving().empty() && node_->Now() < end) std::this_thread::yield();
  }

  TempFolder repository_;
  std::unique_ptr<Node> node_;
  std::function<void(std::span<const ModelSpec>, Faults&)> check_ = [](auto, auto&) {};
  std::optional<ModelControl> control_;
};

TEST_F(ModelControlTest, LoadsAndUnloadsWhatClientsAskFor) {
  AddCopy("a");
  AddCopy("b");
  ModelControl& control = Start(ModelControlMode::kExplicit);
  EXPECT_THAT(Served(), IsEmpty());
  EXPECT_EQ(Index(), "a/  \nb/  \n");
  EXPECT_EQ(control.WhyAbsent("a").message(), "unknown model 'a'");

  EXPECT_TRUE(control.LoadForClient("a", {}).ok());
  EXPECT_THAT(Served(), ElementsAre("a/1"));
  EXPECT_EQ(Index(), "a/1 READY \nb/  \n");
  EXPECT_EQ(Index(true), "a/1 READY \n");

  EXPECT_TRUE(control.UnloadForClient("a").ok());
  EXPECT_THAT(Served(), IsEmpty());
  AwaitLeft();
  EXPECT_EQ(Index(), "a/1 UNAVAILABLE unloaded\nb/  \n");
  EXPECT_EQ(control.WhyAbsent("a").message(), "model 'a' is not loaded");
  // As the peer does: what is not there is unloaded already.
  EXPECT_TRUE(control.UnloadForClient("missing").ok());
}

TEST_F(ModelControlTest, OtherModesRefuseClients) {
  AddCopy("a");
  ModelControl& control = Start(ModelControlMode::kNone);
  EXPECT_THAT(control.LoadForClient("a", {}).message(), HasSubstr("--model-control-mode explicit"));
  EXPECT_THAT(control.UnloadForClient("a").message(), HasSubstr("--model-control-mode explicit"));
  EXPECT_THAT(Served(), IsEmpty());
}

TEST_F(ModelControlTest, AFailedReloadLeavesWhatIsServed) {
  AddCopy("a");
  ModelControl& control = Start(ModelControlMode::kExplicit);
  ASSERT_TRUE(control.LoadForClient("a", {}).ok());
  repository_.Write("a/config.pbtxt", "backend: 'python'");
  const Status failed = control.LoadForClient("a", {});
  EXPECT_EQ(failed.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(failed.message(), HasSubstr("a/config.pbtxt:1:1: backend 'python' is not served"));
  EXPECT_THAT(Served(), ElementsAre("a/1"));
  EXPECT_THAT(Index(), HasSubstr("a/1 READY the last load failed: "));

  AddCopy("a", 2);
  EXPECT_TRUE(control.LoadForClient("a", {}).ok());
  EXPECT_THAT(Served(), ElementsAre("a/2"));
  AwaitLeft();
  EXPECT_EQ(Index(), "a/1 UNAVAILABLE unloaded\na/2 READY \n");
}

TEST_F(ModelControlTest, RefusesNamesThatAreNoModels) {
  AddCopy("a");
  ModelControl& control = Start(ModelControlMode::kExplicit);
  for (const char* name : {"", ".", "..", "../a", "/etc", "a/1", ".hidden", "a\n"}) {
    EXPECT_EQ(control.LoadForClient(name, {}).code(), StatusCode::kInvalidArgument) << name;
  }
  EXPECT_EQ(control.LoadForClient("missing", {}).code(), StatusCode::kNotFound);
  for (const char* file : {"", "model.onnx", "1/", "1/..", "1/../x", "../1/x", "x/model.onnx",
                           "01/model.onnx", "1/.x", "1/a/b"}) {
    LoadParameters parameters;
    parameters.files[file] = "";
    const Status status = control.LoadForClient("a", parameters);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << file;
    EXPECT_THAT(status.message(), HasSubstr("expected file:VERSION/NAME")) << file;
  }
  EXPECT_THAT(Served(), IsEmpty());
}

TEST_F(ModelControlTest, AConfigurationOfTheClientReplacesTheFile) {
  AddCopy("a");
  ModelControl& control = Start(ModelControlMode::kExplicit);
  LoadParameters parameters;
  parameters.config_json =
      R"({"backend":"copy","max_batch_size":8,
          "input":[{"name":"x","data_type":"TYPE_INT32","dims":[2]}],
          "output":[{"name":"y","data_type":"TYPE_INT32","dims":["2"]}]})";
  ASSERT_TRUE(control.LoadForClient("a", parameters).ok());
  const auto model = node_->FindModel("a", -1);
  EXPECT_EQ(model->spec.max_rows, 8U);
  EXPECT_EQ(model->spec.inputs[0].type, DataType::kInt32);

  parameters.config_json = R"({"max_batch_size":)";
  const Status malformed = control.LoadForClient("a", parameters);
  EXPECT_EQ(malformed.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(malformed.message(), HasSubstr("parameter 'config': "));
  parameters.config_json = R"({"backend":"python"})";
  EXPECT_THAT(control.LoadForClient("a", parameters).message(),
              HasSubstr("parameter 'config': backend 'python' is not served"));
}

TEST_F(ModelControlTest, FilesOfTheClientMakeAModelThatIsInNoRepository) {
  ModelControl& control = Start(ModelControlMode::kExplicit);
  LoadParameters parameters;
  parameters.config_json =
      R"({"backend":"copy","input":[{"name":"x","data_type":"TYPE_FP32","dims":[1]}],
          "output":[{"name":"y","data_type":"TYPE_FP32","dims":[1]}]})";
  parameters.files["7/weights"] = "anything";
  ASSERT_TRUE(control.LoadForClient("made", parameters).ok());
  const auto model = node_->FindModel("made", -1);
  EXPECT_EQ(model->spec.version, 7);
  // The files were needed to load only.
  EXPECT_FALSE(fs::exists(model->spec.folder));
}

TEST_F(ModelControlTest, TheNodesConfigurationIsCheckedToo) {
  AddCopy("a");
  check_ = [](std::span<const ModelSpec> models, Faults& faults) {
    faults.Add({"node.yaml", 3, 1, "nothing fits " + models.front().name, ""});
  };
  ModelControl& control = Start(ModelControlMode::kExplicit);
  EXPECT_THAT(control.LoadForClient("a", {}).message(), HasSubstr("node.yaml:3:1: nothing fits a"));
  EXPECT_EQ(Index(), "a/ UNAVAILABLE node.yaml:3:1: nothing fits a\n");
  EXPECT_THAT(control.WhyAbsent("a").message(), HasSubstr("could not be loaded: node.yaml:3:1"));
}

TEST_F(ModelControlTest, PollFollowsTheRepository) {
  AddCopy("a");
  ModelControl& control = Start(ModelControlMode::kPoll);
  EXPECT_TRUE(control.LoadAll().ok());
  EXPECT_THAT(Served(), ElementsAre("a/1"));
  const auto before = node_->FindModel("a", -1);
  control.Poll();
  EXPECT_EQ(node_->FindModel("a", -1), before) << "nothing has changed";

  AddCopy("b");
  AddCopy("a", 2);
  control.Poll();
  EXPECT_THAT(Served(), ElementsAre("a/2", "b/1"));

  repository_.Write("b/config.pbtxt", "broken");
  control.Poll();
  EXPECT_THAT(Served(), ElementsAre("a/2", "b/1"));

  fs::remove_all(repository_.At("a"));
  control.Poll();
  EXPECT_THAT(Served(), ElementsAre("b/1"));

  fs::rename(repository_.path(), repository_.path() + ".away");
  control.Poll();
  fs::rename(repository_.path() + ".away", repository_.path());
  EXPECT_THAT(Served(), ElementsAre("b/1")) << "an unreadable repository unloads nothing";
}

TEST_F(ModelControlTest, LoadAllServesWhatItCanAndListsTheRest) {
  AddCopy("good");
  repository_.Write("bad/config.pbtxt", "backend: 'python'");
  repository_.Write("worse/notes.txt", "");
  ModelControl& control = Start(ModelControlMode::kPoll);
  const Status status = control.LoadAll();
  EXPECT_THAT(status.message(), HasSubstr("backend 'python' is not served"));
  EXPECT_THAT(status.message(), HasSubstr("the model has no version"));
  EXPECT_THAT(Served(), ElementsAre("good/1"));
}

}  // namespace
}  // namespace duly
