// SPDX-License-Identifier: Apache-2.0
#include "cli/models.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fault.h"
#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/json_output.h"
#include "cli/labelled_images.h"
#include "cli/load_client.h"
#include "cli/load_http.h"
#include "cli/load_target.h"
#include "cli/server_process.h"
#include "cli/stop_signals.h"
#include "cli/table.h"
#include "repository/repository.h"
#include "workload/inputs.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;
using workload::InputSet;

constexpr Duration kConnectTimeout = std::chrono::seconds(5);
// Loading models and measuring a short profile of each.
constexpr Duration kReadyTimeout = std::chrono::minutes(5);
constexpr std::uint32_t kMaxRowsPerRequest = 32;
// Requests in flight: enough to keep a small machine busy, far from any queue's bound.
constexpr std::uint32_t kConnections = 4;

struct ListFlags {
  std::vector<std::string> repositories{"models/repository"};
  std::string json_file;
};

struct VerifyFlags {
  std::vector<std::string> repositories{"models/repository"};
  std::string model = "fashion";
  std::string test_set = "models/fashion/test";
  std::optional<std::string> url;
  std::optional<std::uint32_t> limit;
  double tolerance_points = 0.05;
  std::optional<Duration> timeout;
  std::string json_file;
};

int Fail(const std::string& text, int code) {
  fmt::print(stderr, "{}\n", text);
  return code;
}

template <typename Number>
Json OrNull(const std::optional<Number>& number) {
  return number ? Json(*number) : Json(nullptr);
}

std::string Points(const std::optional<double>& number) {
  return number ? fmt::format("{:.2f}", *number) : "-";
}

// A row at a time to a table of left- and right-aligned columns.
class Rows {
 public:
  Rows(std::initializer_list<const char*> titles, std::size_t left) {
    for (const char* title : titles) {
      const auto align =
          columns_.size() < left ? TableColumn::Align::kLeft : TableColumn::Align::kRight;
      columns_.push_back({.title = title, .align = align, .cells = {}});
    }
    columns_.back().align = TableColumn::Align::kLeft;
  }
  void Add(std::vector<std::string> cells) {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      columns_[i].cells.push_back(std::move(cells.at(i)));
    }
  }
  std::string ToString() const { return FormatTable(columns_); }

 private:
  std::vector<TableColumn> columns_;
};

// The table goes to stdout unless the document does.
int Print(const std::string& table, const std::string& json_file, const Json& json) {
  if (json_file != "-") std::cout << table << std::flush;
  if (json_file.empty()) return kExitDone;
  const Status written = WriteJson(json_file, json, std::cout);
  return written.ok() ? kExitDone : Fail(written.message(), kExitFailed);
}

int RunList(const ListFlags& flags) {
  Faults faults;
  const std::vector<ModelSpec> models = ReadRepositories(flags.repositories, faults);
  if (!faults.empty()) return Fail(faults.ToString(), kExitUsage);
  Rows rows({"model", "version", "variant", "accuracy %", "method", "memory MiB", "data set"}, 1);
  Json list = Json::array();
  for (const ModelSpec& model : models) {
    Json variants = Json::array();
    for (std::size_t i = 0; i < model.variants.size(); ++i) {
      const VariantSpec& variant = model.variants[i];
      const bool is_default = i == model.default_variant;
      const double mebibytes = static_cast<double>(variant.memory_bytes) / (1 << 20);
      rows.Add({model.name, fmt::to_string(model.version),
                variant.name + (is_default && model.variants.size() > 1 ? " *" : ""),
                Points(variant.accuracy_pct),
                variant.accuracy_method.empty() ? "-" : variant.accuracy_method,
                variant.memory_bytes == 0 ? "-" : fmt::format("{:.0f}", mebibytes),
                variant.dataset.empty() ? "-" : variant.dataset});
      variants.push_back({{"name", variant.name},
                          {"default", is_default},
                          {"file", variant.file},
                          {"accuracy_pct", OrNull(variant.accuracy_pct)},
                          {"method", variant.accuracy_method},
                          {"dataset", variant.dataset},
                          {"source", variant.accuracy_source},
                          {"memory_bytes", variant.memory_bytes}});
    }
    list.push_back({{"name", model.name},
                    {"version", model.version},
                    {"folder", model.folder},
                    {"max_batch_size", model.max_rows},
                    {"variants", std::move(variants)}});
  }
  const Json json = {{"tool", "models list"}, {"models", std::move(list)}};
  return Print(rows.ToString() + "* served where a request asks for no variant or accuracy\n",
               flags.json_file, json);
}

// What came of one variant.
struct Verdict {
  enum class Kind : std::uint8_t {
    kAgrees,
    kDiffers,
    kFailed,         // not every image was answered, or by another variant
    kNothingStated,  // measured, but duly.yaml gives no accuracy
    kPublished,      // on a data set that is not here: nothing was sent
  };
  const VariantSpec* variant = nullptr;
  Kind kind = Kind::kFailed;
  std::string detail;
  std::uint32_t images = 0;  // answered
  std::uint32_t correct = 0;
  double seconds = 0;

  std::optional<double> measured_pct() const {
    if (images == 0) return std::nullopt;
    return 100.0 * correct / images;
  }
  std::optional<double> difference() const {
    const std::optional<double> measured = measured_pct();
    if (!measured || !variant->accuracy_pct) return std::nullopt;
    return *measured - *variant->accuracy_pct;
  }
  bool wrong() const { return kind == Kind::kDiffers || kind == Kind::kFailed; }
};

const char* InWords(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Kind::kAgrees:
      return "agrees";
    case Verdict::Kind::kDiffers:
      return "differs";
    case Verdict::Kind::kFailed:
      return "failed";
    case Verdict::Kind::kNothingStated:
      return "nothing stated";
    case Verdict::Kind::kPublished:
      return "published: not verifiable here";
  }
  return "";
}

// Images [first, first + count) as the model takes them, with their labels.
Result<InputSet> ToInputs(const LabelledImages& images, const TensorSpec& input,
                          const std::string& output, std::uint32_t first, std::uint32_t count) {
  const std::size_t pixels = std::size_t{images.rows} * images.columns;
  Shape row = input.shape;
  if (!row.empty()) row.erase(row.begin());
  if (ElementCount(row) != static_cast<std::int64_t>(pixels)) {
    return Error(StatusCode::kInvalidArgument,
                 "input '{}' takes {}: an image of the test set has {} x {} pixels", input.name,
                 ToString(input.shape), images.rows, images.columns);
  }
  if (input.type != DataType::kFp32 && input.type != DataType::kUint8) {
    return Error(StatusCode::kInvalidArgument,
                 "input '{}' takes {}: pixels are sent as FP32 from 0 to 1, or as UINT8",
                 input.name, ToString(input.type));
  }
  InputSet set;
  set.rows = count;
  workload::InputTensor tensor;
  tensor.spec = {input.name, input.type, row};
  tensor.row_bytes = pixels * ElementSize(input.type);
  auto [buffer, bytes] = Buffer::Allocate(tensor.row_bytes * count);
  const std::uint8_t* source = images.pixels.data() + first * pixels;
  if (input.type == DataType::kUint8) {
    std::memcpy(bytes.data(), source, bytes.size());
  } else {
    for (std::size_t i = 0; i < pixels * count; ++i) {
      const float value = static_cast<float>(source[i]) / 255.0F;
      std::memcpy(bytes.data() + i * sizeof(value), &value, sizeof(value));
    }
  }
  tensor.data = std::move(buffer);
  set.inputs.push_back(std::move(tensor));
  set.expected.emplace();
  set.expected->output = output;
  set.expected->basis = workload::ExpectedAnswers::Basis::kTruth;
  set.expected->labels.assign(images.labels.begin() + first, images.labels.begin() + first + count);
  return set;
}

// The test set in requests, of the same size but for a rest: what every variant is sent.
struct TestRequests {
  std::uint32_t images = 0;
  std::vector<TensorSpec> model_inputs;
  std::vector<InputSet> sets;               // one, or two with the rest
  std::vector<std::uint32_t> rows;          // per request, of each set
  std::vector<workload::Arrival> schedule;  // of all sets
};

Result<TestRequests> MakeRequests(const LoadServer& server, const ModelSpec& model,
                                  const LabelledImages& images) {
  DULY_ASSIGN_OR_RETURN(ModelTensors tensors, server.TensorsOf(model.name));
  std::vector<TensorSpec>& inputs = tensors.inputs;
  const std::vector<TensorSpec>& outputs = tensors.outputs;
  if (inputs.size() != 1 || outputs.size() != 1) {
    return Error(StatusCode::kInvalidArgument,
                 "model '{}' has {} inputs and {} outputs: a classifier of images has one of each",
                 model.name, inputs.size(), outputs.size());
  }
  TestRequests requests;
  requests.images = images.count;
  const std::uint32_t batch = std::clamp(model.max_rows, 1U, kMaxRowsPerRequest);
  const std::uint32_t whole = images.count / batch * batch;
  const auto add = [&](std::uint32_t first, std::uint32_t count, std::uint32_t rows) -> Status {
    if (count == 0) return Status();
    Result<InputSet> set = ToInputs(images, inputs[0], outputs[0].name, first, count);
    if (!set) return set.error();
    const auto index = static_cast<std::uint32_t>(requests.sets.size());
    requests.sets.push_back(std::move(*set));
    requests.rows.push_back(rows);
    // All are due at once: how many are in flight is the number of connections.
    for (std::uint32_t i = 0; i < count / rows; ++i) {
      requests.schedule.push_back({Duration(0), index, i, false});
    }
    return Status();
  };
  DULY_RETURN_IF_ERROR(add(0, whole, batch));
  DULY_RETURN_IF_ERROR(add(whole, images.count - whole, images.count - whole));
  requests.model_inputs = std::move(inputs);
  return requests;
}

Verdict::Kind Judge(const Verdict& verdict, double tolerance_points) {
  const std::optional<double> difference = verdict.difference();
  if (!difference) return Verdict::Kind::kNothingStated;
  // Figures in duly.yaml are decimal: 92.46 - 92.41 is not more than 0.05.
  constexpr double kRounding = 1e-9;
  return std::abs(*difference) <= tolerance_points + kRounding ? Verdict::Kind::kAgrees
                                                               : Verdict::Kind::kDiffers;
}

// Sends the whole test set to one variant. kCancelled: interrupted.
Result<Verdict> Verify(const LoadServer& server, const ModelSpec& model, const VariantSpec& variant,
                       const TestRequests& requests, const VerifyFlags& flags,
                       const StopSignals& signals) {
  Verdict verdict;
  verdict.variant = &variant;
  std::vector<LoadTarget> targets;
  for (std::size_t i = 0; i < requests.sets.size(); ++i) {
    workload::ApplicationLoad load;
    load.spec.name = "verify";
    load.spec.model = model.name;
    // A promise of the model's own could be refused on a busy machine.
    load.spec.slo = std::chrono::hours(1);
    load.rows = requests.rows[i];
    load.variant = variant.name;
    DULY_ASSIGN_OR_RETURN(LoadTarget target, MakeTarget(server, load, requests.model_inputs,
                                                        &requests.sets[i], Dialect::kAnonymous, 1));
    targets.push_back(std::move(target));
  }
  LoadClient::Options options;
  options.server = &server;
  options.max_connections = kConnections;
  options.grace = flags.timeout.value_or(std::chrono::minutes(10));
  const auto start = std::chrono::steady_clock::now();
  DULY_ASSIGN_OR_RETURN(const std::unique_ptr<LoadClient> client,
                        LoadClient::Start(options, targets, requests.schedule));
  pollfd fds[] = {{client->ended_fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}};
  while ((fds[0].revents & POLLIN) == 0) {
    if (::poll(fds, 2, -1) > 0 && (fds[1].revents & POLLIN) != 0) {
      return Error(StatusCode::kCancelled, "interrupted");
    }
  }
  const LoadRun run = client->Finish();
  verdict.seconds = ToSeconds(std::chrono::steady_clock::now() - start);

  for (std::size_t i = 0; i < run.records.size(); ++i) {
    const LoadRecord& record = run.records[i];
    const std::uint32_t rows = requests.rows[requests.schedule[i].application];
    if (record.outcome != Outcome::kOnTime) {
      verdict.detail = record.outcome ? run.names[record.detail] : "no answer in time";
    } else if (run.names[record.variant] != variant.name) {
      verdict.detail = fmt::format("answered by variant '{}'", run.names[record.variant]);
    } else if (record.numbers.checked_rows != rows) {
      verdict.detail = "an answer without numbers to compare";
    } else {
      verdict.images += rows;
      verdict.correct += record.numbers.correct_rows;
    }
  }
  verdict.kind = verdict.images == requests.images ? Judge(verdict, flags.tolerance_points)
                                                   : Verdict::Kind::kFailed;
  return verdict;
}

std::string ToTable(const std::vector<Verdict>& verdicts) {
  Rows rows({"variant", "images", "measured %", "duly.yaml %", "difference", "s", "verdict"}, 1);
  for (const Verdict& verdict : verdicts) {
    const std::optional<double> difference = verdict.difference();
    const bool sent = verdict.kind != Verdict::Kind::kPublished;
    rows.Add({verdict.variant->name, sent ? fmt::to_string(verdict.images) : "-",
              Points(verdict.measured_pct()), Points(verdict.variant->accuracy_pct),
              difference ? fmt::format("{:+.2f}", *difference) : "-",
              sent ? fmt::format("{:.1f}", verdict.seconds) : "-",
              verdict.detail.empty()
                  ? InWords(verdict.kind)
                  : fmt::format("{}: {}", InWords(verdict.kind), verdict.detail)});
  }
  return rows.ToString();
}

Json ToJson(const std::vector<Verdict>& verdicts, const VerifyFlags& flags, const ModelSpec& model,
            const LabelledImages& images, bool passed) {
  Json list = Json::array();
  for (const Verdict& verdict : verdicts) {
    list.push_back({{"name", verdict.variant->name},
                    {"method", verdict.variant->accuracy_method},
                    {"images", verdict.images},
                    {"correct", verdict.correct},
                    {"measured_pct", OrNull(verdict.measured_pct())},
                    {"stated_pct", OrNull(verdict.variant->accuracy_pct)},
                    {"difference_points", OrNull(verdict.difference())},
                    {"duration_s", verdict.seconds},
                    {"verdict", InWords(verdict.kind)},
                    {"detail", verdict.detail}});
  }
  return {{"tool", "models verify"},  {"model", model.name},
          {"version", model.version}, {"test_set", flags.test_set},
          {"images", images.count},   {"tolerance_points", flags.tolerance_points},
          {"passed", passed},         {"variants", std::move(list)}};
}

int RunVerify(const VerifyFlags& flags) {
  Faults faults;
  const std::vector<ModelSpec> models = ReadRepositories(flags.repositories, faults);
  // A model with a fault is left out: that there is no such model would be a second fault.
  const bool all_read = faults.empty();
  const LabelledImages images = ReadLabelledImages(flags.test_set, flags.limit, faults);
  // Of several versions the newest is served to who names none: the last one.
  const auto model = std::find_if(models.rbegin(), models.rend(), [&flags](const ModelSpec& spec) {
    return spec.name == flags.model;
  });
  if (model == models.rend() && all_read) {
    faults.Add(
        {"--model", 0, 0, fmt::format("no model '{}'", flags.model), "one of the repositories"});
  } else if (model != models.rend() &&
             std::all_of(model->variants.begin(), model->variants.end(), [](const auto& variant) {
               return variant.accuracy_method == "published";
             })) {
    faults.Add({"--model", 0, 0,
                fmt::format("every accuracy of '{}' is a published one", flags.model),
                "a model with one that was measured"});
  }
  if (!faults.empty()) return Fail(faults.ToString(), kExitUsage);

  const StopSignals signals;
  std::unique_ptr<ServerProcess> own;
  if (!flags.url) {
    Result<std::unique_ptr<ServerProcess>> started =
        ServerProcess::Start(flags.repositories, signals.fd(), kReadyTimeout);
    if (!started) return FailWith(started.error());
    own = std::move(*started);
  }
  const Result<HttpEndpoint> endpoint =
      FindHttpServer(own != nullptr ? own->url() : *flags.url, kConnectTimeout);
  if (!endpoint) return FailWith(endpoint.error());
  const HttpLoadServer server(*endpoint);
  const Result<TestRequests> requests = MakeRequests(server, *model, images);
  if (!requests) return FailWith(requests.error());

  Status stopped;
  std::vector<Verdict> verdicts;
  for (const VariantSpec& variant : model->variants) {
    if (variant.accuracy_method == "published") {
      verdicts.push_back({.variant = &variant, .kind = Verdict::Kind::kPublished, .detail = ""});
      continue;
    }
    Result<Verdict> verdict = Verify(server, *model, variant, *requests, flags, signals);
    if (!verdict) {
      stopped = verdict.error();
      break;
    }
    fmt::print(stderr, "{}: {} images in {:.1f} s\n", variant.name, verdict->images,
               verdict->seconds);
    verdicts.push_back(std::move(*verdict));
  }
  if (own != nullptr && stopped.ok()) stopped = own->Stop();
  const bool passed =
      stopped.ok() && std::none_of(verdicts.begin(), verdicts.end(),
                                   [](const Verdict& verdict) { return verdict.wrong(); });
  const int printed =
      Print(ToTable(verdicts), flags.json_file, ToJson(verdicts, flags, *model, images, passed));
  if (!stopped.ok()) return Fail(stopped.message(), kExitFailed);
  return passed ? printed : kExitFailed;
}

CLI::Option* AddRepositories(CLI::App& parser, std::vector<std::string>& repositories) {
  return parser
      .add_option("--model-repository", repositories,
                  "Folder of models (repeatable; models/repository)")
      ->type_name("DIR")
      ->expected(1)
      ->take_all();
}

}  // namespace

std::function<int()> AddModelsCommand(CLI::App& parser) {
  parser.require_subcommand(1);
  parser.footer("Example:\n  duly models verify --help");

  auto list_flags = std::make_shared<ListFlags>();
  CLI::App* list = parser.add_subcommand("list", "Models and variants of repositories");
  AddRepositories(*list, list_flags->repositories);
  list->add_option("--json", list_flags->json_file, "Write the list (- = stdout)")
      ->type_name("FILE");
  list->footer("Example:\n  duly models list --model-repository models/repository");

  auto flags = std::make_shared<VerifyFlags>();
  CLI::App* verify = parser.add_subcommand(
      "verify", "Measure the accuracy of variants through a server, and compare with duly.yaml");
  AddRepositories(*verify, flags->repositories);
  verify->add_option("--model", flags->model, "A classifier of images (fashion)")
      ->type_name("NAME");
  verify
      ->add_option("--test-set", flags->test_set,
                   "Images and labels as idx files (models/fashion/test)")
      ->type_name("DIR");
  verify->add_option("--url", flags->url, "Running server (else one is started and stopped)")
      ->type_name("URL");
  verify->add_option("--limit", flags->limit, "Only the first N images")
      ->type_name("N")
      ->check(CLI::Range(1U, 1U << 30, ""));
  verify
      ->add_option("--tolerance", flags->tolerance_points,
                   "Largest difference that agrees, in points (0.05)")
      ->type_name("PCT")
      ->check(CLI::Range(0.0, 100.0, ""));
  AddDuration(*verify, "--timeout", flags->timeout, "For one variant (10min)");
  verify->add_option("--json", flags->json_file, "Write the report (- = stdout)")
      ->type_name("FILE");
  verify->footer(
      "Exits with 1 when an accuracy differs by more than the tolerance.\n"
      "Example:\n  duly models verify --limit 1000 --tolerance 2");
  return [list, list_flags, flags] {
    return list->parsed() ? RunList(*list_flags) : RunVerify(*flags);
  };
}

}  // namespace duly
