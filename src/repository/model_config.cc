// SPDX-License-Identifier: Apache-2.0
#include "repository/model_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>
#include <model_config.pb.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <string_view>
#include <tuple>

#include "base/closest_name.h"
#include "base/file.h"
#include "base/utf8.h"
#include "repository/serving_file.h"

namespace duly {
namespace {

namespace pb = google::protobuf;
using ParseInfoTree = pb::TextFormat::ParseInfoTree;

// A day: beyond it, a delay in microseconds is a mistake.
constexpr std::uint64_t kMaxMicroseconds = 86'400'000'000;
constexpr int kMaxNesting = 100;

struct Refusal {
  const char* field;
  const char* instead;
};

// Fields of ModelConfig that are refused wherever they are written.
constexpr std::array<Refusal, 11> kRefusedOfModel{{
    {"sequence_batching", "a model whose state travels in its tensors"},
    {"ensemble_scheduling", "one request for each model"},
    {"optimization", "no such field: graphs are optimised, threads are set for each device"},
    {"cc_model_filenames", "default_model_filename"},
    {"metric_tags", "no such field: metrics are labelled by model and version"},
    {"model_operations", "a model of standard operators"},
    {"batch_input", "inputs that the request sends"},
    {"batch_output", "outputs as the model has them"},
    {"model_repository_agents", "no such field"},
    {"runtime", "no such field: ONNX Runtime runs every model"},
    {"model_metrics", "no such field: latency histograms are always on"},
}};
constexpr std::array<Refusal, 3> kRefusedOfInput{{
    {"reshape", "dims as the model file has them"},
    {"is_shape_tensor", "an input of data"},
    {"allow_ragged_batch", "requests of one shape"},
}};
constexpr std::array<Refusal, 1> kRefusedOfOutput{{
    {"reshape", "dims as the model file has them"},
}};
constexpr std::array<Refusal, 6> kRefusedOfInstanceGroup{{
    {"gpus", "KIND_CPU: this build has no GPU"},
    {"profile", "an ONNX model"},
    {"rate_limiter", "applications with weights in the node's configuration"},
    {"passive", "an instance that serves"},
    {"secondary_devices", "one device for each instance"},
    {"host_policy", "cores of a device in the node's configuration"},
}};
constexpr std::array<Refusal, 1> kRefusedOfBatching{{
    {"preserve_ordering", "no such field: each request is answered when it is done"},
}};

std::optional<DataType> FromProto(inference::DataType type) {
  switch (type) {
    case inference::TYPE_BOOL:
      return DataType::kBool;
    case inference::TYPE_UINT8:
      return DataType::kUint8;
    case inference::TYPE_UINT16:
      return DataType::kUint16;
    case inference::TYPE_UINT32:
      return DataType::kUint32;
    case inference::TYPE_UINT64:
      return DataType::kUint64;
    case inference::TYPE_INT8:
      return DataType::kInt8;
    case inference::TYPE_INT16:
      return DataType::kInt16;
    case inference::TYPE_INT32:
      return DataType::kInt32;
    case inference::TYPE_INT64:
      return DataType::kInt64;
    case inference::TYPE_FP16:
      return DataType::kFp16;
    case inference::TYPE_FP32:
      return DataType::kFp32;
    case inference::TYPE_FP64:
      return DataType::kFp64;
    case inference::TYPE_STRING:
      return DataType::kBytes;
    case inference::TYPE_BF16:
      return DataType::kBf16;
    default:  // TYPE_INVALID, and numbers without a name
      return std::nullopt;
  }
}

// The part of a protobuf message between two texts that surround it.
std::optional<std::string> Between(const std::string& text, std::string_view before,
                                   std::string_view after) {
  const std::size_t start = text.find(before);
  if (start == std::string::npos) return std::nullopt;
  const std::size_t end = text.find(after, start + before.size());
  if (end == std::string::npos) return std::nullopt;
  return text.substr(start + before.size(), end - start - before.size());
}

// Turns protobuf's messages into faults. Unknown fields come as warnings, so that all are listed.
class SyntaxFaults : public pb::io::ErrorCollector {
 public:
  SyntaxFaults(const std::string& text, const std::string& file, Faults& faults)
      : text_(text), file_(file), faults_(faults) {}

  void AddError(int line, pb::io::ColumnNumber column, const std::string& message) override {
    const auto value = Between(message, "Unknown enumeration value of \"", "\"");
    const auto field = Between(message, "for field \"", "\"");
    if (value && field) return AddUnknownValue(line, column, *value, *field);
    std::string what = message.substr(0, message.find_last_not_of('.') + 1);
    if (what.ends_with("got: ")) what += "the end of the file";
    faults_.Add({file_, line + 1, column + 1, std::move(what), ""});
  }

  void AddWarning(int line, pb::io::ColumnNumber column, const std::string& message) override {
    const auto type = Between(message, "Message type \"", "\"");
    const auto field = Between(message, "has no field named \"", "\"");
    const pb::Descriptor* descriptor =
        type ? pb::DescriptorPool::generated_pool()->FindMessageTypeByName(*type) : nullptr;
    if (!field || descriptor == nullptr) return AddError(line, column, message);
    // Stands inside something that is refused as a whole.
    if (descriptor->field_count() == 0) return;
    std::vector<std::string_view> known;
    for (int i = 0; i < descriptor->field_count(); ++i) {
      known.push_back(descriptor->field(i)->name());
    }
    AddUnknown(PlaceBefore(line, column, *field), "field", *field, known);
  }

 private:
  void AddUnknownValue(int line, int column, const std::string& value, const std::string& field) {
    const pb::EnumDescriptor* values = EnumOf(inference::ModelConfig::descriptor(), field);
    std::vector<std::string_view> known;
    for (int i = 0; values != nullptr && i < values->value_count(); ++i) {
      // The first DataType says that there is none.
      if (values->value(i)->name() != "TYPE_INVALID") known.push_back(values->value(i)->name());
    }
    AddUnknown(PlaceBefore(line, column, value), field, value, known);
  }

  void AddUnknown(const Place& place, std::string_view kind, std::string_view name,
                  const std::vector<std::string_view>& known) {
    std::string what = fmt::format("unknown {} '{}'", kind, name);
    const std::string_view closest = ClosestName(name, known);
    if (!closest.empty()) what += fmt::format(" (did you mean '{}'?)", closest);
    faults_.Add(place, std::move(what), fmt::format("one of: {}", fmt::join(known, ", ")));
  }

  // The values of the first enumeration field of this name below `message`.
  static const pb::EnumDescriptor* EnumOf(const pb::Descriptor* message, const std::string& field) {
    for (int i = 0; i < message->field_count(); ++i) {
      const pb::FieldDescriptor* candidate = message->field(i);
      if (candidate->enum_type() != nullptr && candidate->name() == field) {
        return candidate->enum_type();
      }
      if (candidate->message_type() == nullptr) continue;
      if (const pb::EnumDescriptor* found = EnumOf(candidate->message_type(), field)) return found;
    }
    return nullptr;
  }

  // Protobuf places a name that it does not know at the token after it.
  Place PlaceBefore(int line, int column, const std::string& name) const {
    std::size_t start = 0;
    for (int i = 0; i < line && start != std::string::npos; ++i) {
      start = text_.find('\n', start);
      if (start != std::string::npos) ++start;
    }
    const std::size_t found =
        start == std::string::npos
            ? std::string::npos
            : text_.rfind(name, start + static_cast<std::size_t>(std::max(column, 1)) - 1);
    if (found == std::string::npos) return {file_, line + 1, column + 1};
    const auto name_line =
        std::count(text_.begin(), text_.begin() + static_cast<long>(found), '\n');
    const std::size_t line_start = found == 0 ? std::string::npos : text_.rfind('\n', found - 1);
    const std::size_t offset = line_start == std::string::npos ? found : found - line_start - 1;
    return {file_, static_cast<int>(name_line) + 1, static_cast<int>(offset) + 1};
  }

  const std::string& text_;
  const std::string& file_;
  Faults& faults_;
};

// A message with the places of its fields.
class Scope {
 public:
  Scope(const pb::Message& message, const ParseInfoTree* tree, Place place, Faults& faults)
      : message_(message), tree_(tree), place_(std::move(place)), faults_(faults) {}

  // Of a field, or of the message when the field is not written.
  Place PlaceOf(const char* name, int index = 0) const {
    const pb::FieldDescriptor* field = Field(name);
    if (tree_ == nullptr) return place_;
    if (!field->is_repeated()) return At(tree_->GetLocation(field, -1)).value_or(place_);
    // In the form [a, b] only the whole list has a place.
    for (int i : {index, 0}) {
      if (const std::optional<Place> place = At(tree_->GetLocation(field, i))) return *place;
    }
    return place_;
  }

  Scope Nested(const char* name, const pb::Message& message, int index = 0) const {
    const pb::FieldDescriptor* field = Field(name);
    const ParseInfoTree* tree =
        tree_ == nullptr ? nullptr
                         : tree_->GetTreeForNested(field, field->is_repeated() ? index : -1);
    Place place = PlaceOf(name, index);
    // An element of the form [{a}, {b}] stands where its first field does.
    if (tree != nullptr && field->is_repeated() &&
        (index > 0 && tree_->GetLocation(field, index).line < 0)) {
      place = FirstFieldOf(*message.GetDescriptor(), *tree).value_or(place);
    }
    return Scope(message, tree, std::move(place), faults_);
  }

  Faults& faults() const { return faults_; }

  bool Has(const char* name) const {
    const pb::FieldDescriptor* field = Field(name);
    const pb::Reflection* reflection = message_.GetReflection();
    return field->is_repeated() ? reflection->FieldSize(message_, field) > 0
                                : reflection->HasField(message_, field);
  }

  void Fail(const char* field, std::string what, std::string expected, int index = 0) const {
    faults_.Add(PlaceOf(field, index), std::move(what), std::move(expected));
  }

  template <std::size_t n>
  void Refuse(const std::array<Refusal, n>& refusals) const {
    for (const Refusal& refusal : refusals) {
      if (Has(refusal.field)) {
        Fail(refusal.field, fmt::format("{} is not served", refusal.field), refusal.instead);
      }
    }
  }

 private:
  const pb::FieldDescriptor* Field(const char* name) const {
    return message_.GetDescriptor()->FindFieldByName(name);
  }

  std::optional<Place> At(const pb::TextFormat::ParseLocation& location) const {
    if (location.line < 0) return std::nullopt;
    return Place{place_.file, location.line + 1, location.column + 1};
  }

  std::optional<Place> FirstFieldOf(const pb::Descriptor& type, const ParseInfoTree& tree) const {
    std::optional<Place> first;
    for (int i = 0; i < type.field_count(); ++i) {
      const std::optional<Place> place =
          At(tree.GetLocation(type.field(i), type.field(i)->is_repeated() ? 0 : -1));
      if (!place) continue;
      if (!first || std::tie(place->line, place->column) < std::tie(first->line, first->column)) {
        first = place;
      }
    }
    return first;
  }

  const pb::Message& message_;
  const ParseInfoTree* tree_;
  Place place_;
  Faults& faults_;
};

// Clients get these texts in protobuf, which they could not read otherwise.
void CheckTexts(const pb::Message& message, const Scope& scope) {
  const pb::Reflection& reflection = *message.GetReflection();
  std::vector<const pb::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const pb::FieldDescriptor* field : fields) {
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (field->type() == pb::FieldDescriptor::TYPE_STRING) {
        std::string unused;
        const std::string& text =
            field->is_repeated() ? reflection.GetRepeatedStringReference(message, field, i, &unused)
                                 : reflection.GetStringReference(message, field, &unused);
        if (!IsUtf8(text)) {
          scope.Fail(field->name().c_str(), fmt::format("{} is no text", field->name()), "UTF-8",
                     i);
        }
      } else if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE) {
        const pb::Message& nested = field->is_repeated()
                                        ? reflection.GetRepeatedMessage(message, field, i)
                                        : reflection.GetMessage(message, field);
        CheckTexts(nested, scope.Nested(field->name().c_str(), nested, i));
      }
    }
  }
}

// One input or output: their messages are of two types with the same fields.
template <typename Message>
TensorSpec ReadTensor(const Message& message, const Scope& scope, std::string_view kind,
                      const std::vector<TensorSpec>& before, bool batches) {
  TensorSpec tensor;
  tensor.name = message.name();
  if (tensor.name.empty()) {
    scope.Fail("name", fmt::format("an {} has no name", kind), "name: \"...\"");
  }
  for (const TensorSpec& other : before) {
    if (tensor.name.empty() || other.name != tensor.name) continue;
    scope.Fail("name", fmt::format("{} '{}' is given again", kind, tensor.name), "each name once");
  }
  if (const std::optional<DataType> type = FromProto(message.data_type())) {
    tensor.type = *type;
  } else {
    scope.Fail("data_type", fmt::format("{} '{}' has no data type", kind, tensor.name),
               "data_type: TYPE_FP32 or another");
  }
  if (batches) tensor.shape.push_back(-1);
  for (int i = 0; i < message.dims_size(); ++i) {
    const std::int64_t size = message.dims(i);
    tensor.shape.push_back(size);
    if (size > 0 || size == -1) continue;
    scope.Fail("dims", fmt::format("a dimension of {} '{}' is {}", kind, tensor.name, size),
               "a size from 1, or -1 for any", i);
  }
  return tensor;
}

// Without the ends of the lines, of whatever kind.
std::vector<std::string> LinesOf(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
  }
  return lines;
}

std::optional<Duration> ReadMicroseconds(const Scope& scope, const char* field,
                                         std::uint64_t value) {
  if (value <= kMaxMicroseconds) return std::chrono::microseconds(value);
  scope.Fail(field, fmt::format("{} is {}", field, value),
             fmt::format("at most {} (a day)", kMaxMicroseconds));
  return std::nullopt;
}

class Reader {
 public:
  Reader(const inference::ModelConfig& config, const ParseInfoTree& tree, const std::string& file,
         Faults& faults)
      : config_(config), file_(file), root_(config, &tree, {file, 0, 0}, faults) {}

  ModelConfigFile Read(const std::string& model_name) {
    CheckTexts(config_, root_);
    root_.Refuse(kRefusedOfModel);
    if (!config_.name().empty() && config_.name() != model_name) {
      root_.Fail("name", fmt::format("name is '{}'", config_.name()),
                 fmt::format("'{}', as the folder is called, or no name", model_name));
    }
    ReadBackend();
    ReadRows();
    ReadInputs();
    ReadOutputs();
    ReadInstances();
    ReadVersionPolicy();
    ReadFilename();
    ReadBatching();
    ReadWarmup();
    ReadAnswers();
    for (const auto& [key, value] : config_.parameters()) {
      spec().parameters.emplace_back(key, value.string_value());
    }
    std::sort(spec().parameters.begin(), spec().parameters.end());
    return std::move(result_);
  }

 private:
  ModelSpec& spec() { return result_.spec; }

  void ReadBackend() {
    for (const char* const other : {kCopyBackend, kPlugInBackend}) {
      if (config_.backend() != other) continue;
      spec().backend = other;
      spec().platform = other;
    }
    if (!config_.platform().empty() && config_.platform() != spec().platform) {
      root_.Fail("platform", fmt::format("platform '{}' is not served", config_.platform()),
                 spec().platform);
    }
    if (!config_.backend().empty() && config_.backend() != spec().backend) {
      root_.Fail("backend", fmt::format("backend '{}' is not served", config_.backend()),
                 fmt::format("{}, {} or {}", spec().backend, kCopyBackend, kPlugInBackend));
    }
  }

  void ReadRows() {
    spec().rows_from_file =
        !config_.has_max_batch_size() && config_.input().empty() && config_.output().empty();
    if (config_.max_batch_size() >= 0 && config_.max_batch_size() <= kMaxRows) {
      spec().max_rows = static_cast<std::uint32_t>(config_.max_batch_size());
      return;
    }
    root_.Fail(
        "max_batch_size", fmt::format("max_batch_size is {}", config_.max_batch_size()),
        fmt::format("a number of rows up to {}, or 0 for a model that does not batch", kMaxRows));
  }

  void ReadInputs() {
    for (int i = 0; i < config_.input_size(); ++i) {
      const inference::ModelInput& input = config_.input(i);
      const Scope scope = root_.Nested("input", input, i);
      TensorSpec tensor = ReadTensor(input, scope, "input", spec().inputs, spec().max_rows > 0);
      tensor.optional = input.optional();
      scope.Refuse(kRefusedOfInput);
      if (input.format() != inference::ModelInput::FORMAT_NONE) {
        if (!inference::ModelInput::Format_IsValid(input.format())) {
          scope.Fail("format", fmt::format("format is {}", static_cast<int>(input.format())),
                     "FORMAT_NONE, FORMAT_NHWC or FORMAT_NCHW");
        }
        spec().formats.emplace_back(tensor.name,
                                    inference::ModelInput::Format_Name(input.format()));
      }
      spec().inputs.push_back(std::move(tensor));
    }
  }

  void ReadOutputs() {
    for (int i = 0; i < config_.output_size(); ++i) {
      const inference::ModelOutput& output = config_.output(i);
      const Scope scope = root_.Nested("output", output, i);
      TensorSpec tensor = ReadTensor(output, scope, "output", spec().outputs, spec().max_rows > 0);
      scope.Refuse(kRefusedOfOutput);
      if (const std::string& label = output.label_filename(); !label.empty()) {
        const std::string path = RelativeToFile(label, file_);
        if (!StaysInside(label) || !IsFile(path)) {
          scope.Fail("label_filename", fmt::format("label_filename is '{}'", label),
                     "a file in the model's folder");
        } else if (const Result<std::string> text = ReadFile(path)) {
          spec().labels.emplace_back(tensor.name, LinesOf(*text));
        } else {
          scope.Fail("label_filename",
                     fmt::format("label_filename is '{}', which cannot be read: {}", label,
                                 text.error().message()),
                     "a text file with a label in each line");
        }
        spec().label_files.emplace_back(tensor.name, label);
      }
      spec().outputs.push_back(std::move(tensor));
    }
  }

  void ReadInstances() {
    using Group = inference::ModelInstanceGroup;
    for (int i = 0; i < config_.instance_group_size(); ++i) {
      const Group& group = config_.instance_group(i);
      const Scope scope = root_.Nested("instance_group", group, i);
      scope.Refuse(kRefusedOfInstanceGroup);
      if (group.kind() != Group::KIND_AUTO && group.kind() != Group::KIND_CPU) {
        const std::string kind = Group::Kind_IsValid(group.kind())
                                     ? Group::Kind_Name(group.kind())
                                     : std::to_string(static_cast<int>(group.kind()));
        scope.Fail("kind", fmt::format("kind {} is not served", kind), "KIND_CPU or KIND_AUTO");
      }
      if (group.count() < 0 || group.count() > kMaxInstances) {
        scope.Fail("count", fmt::format("count is {}", group.count()),
                   fmt::format("a number from 0 to {}", kMaxInstances));
        continue;
      }
      spec().instances += static_cast<std::uint32_t>(group.count());
    }
  }

  void ReadVersionPolicy() {
    const inference::ModelVersionPolicy& policy = config_.version_policy();
    const Scope scope = root_.Nested("version_policy", policy);
    VersionPolicy& versions = result_.versions;
    if (policy.has_all()) {
      versions.kind = VersionPolicy::Kind::kAll;
      versions.place = scope.PlaceOf("all");
    } else if (policy.has_specific()) {
      const Scope specific = scope.Nested("specific", policy.specific());
      versions.kind = VersionPolicy::Kind::kSpecific;
      versions.specific.assign(policy.specific().versions().begin(),
                               policy.specific().versions().end());
      versions.place = specific.PlaceOf("versions");
      if (versions.specific.empty()) {
        specific.Fail("versions", "version_policy names no version", "versions: [1, 2]");
      }
    } else if (policy.has_latest() && policy.latest().has_num_versions()) {
      versions.latest = policy.latest().num_versions();
      const Scope latest = scope.Nested("latest", policy.latest());
      if (versions.latest == 0) latest.Fail("num_versions", "num_versions is 0", "at least 1");
    }
  }

  void ReadFilename() {
    result_.model_filename = config_.default_model_filename();
    result_.model_filename_place = root_.PlaceOf("default_model_filename");
    if (result_.model_filename.empty() || StaysInside(result_.model_filename)) return;
    root_.Fail("default_model_filename",
               fmt::format("default_model_filename is '{}'", result_.model_filename),
               "a path inside the version folder");
    result_.model_filename.clear();
  }

  void ReadBatching() {
    if (!config_.has_dynamic_batching()) return;
    const inference::ModelDynamicBatching& written = config_.dynamic_batching();
    const Scope scope = root_.Nested("dynamic_batching", written);
    scope.Refuse(kRefusedOfBatching);
    DynamicBatching& batching = spec().dynamic_batching.emplace();
    for (int i = 0; i < written.preferred_batch_size_size(); ++i) {
      const std::int32_t rows = written.preferred_batch_size(i);
      if (rows < 1 || (!spec().rows_from_file && config_.max_batch_size() < rows)) {
        scope.Fail("preferred_batch_size", fmt::format("a preferred_batch_size is {}", rows),
                   fmt::format("from 1 to max_batch_size, which is {}", config_.max_batch_size()),
                   i);
        continue;
      }
      batching.preferred_rows.push_back(static_cast<std::uint32_t>(rows));
    }
    std::vector<std::uint32_t>& preferred = batching.preferred_rows;
    std::sort(preferred.begin(), preferred.end());
    preferred.erase(std::unique(preferred.begin(), preferred.end()), preferred.end());
    batching.max_queue_delay = ReadMicroseconds(scope, "max_queue_delay_microseconds",
                                                written.max_queue_delay_microseconds())
                                   .value_or(Duration(0));
    batching.queue =
        ReadQueuePolicy(written.default_queue_policy(),
                        scope.Nested("default_queue_policy", written.default_queue_policy()));
    ReadLevels(written, scope, batching);
    // Each level says its own, otherwise.
    const Duration timeout = batching.queue.default_timeout;
    if (batching.levels.empty() && timeout > Duration(0)) spec().timeout = timeout;
  }

  static void ReadLevels(const inference::ModelDynamicBatching& written, const Scope& scope,
                         DynamicBatching& batching) {
    const std::uint64_t levels = written.priority_levels();
    const std::uint64_t chosen = written.default_priority_level();
    if (levels > kMaxPriorityLevels) {
      return scope.Fail("priority_levels", fmt::format("priority_levels is {}", levels),
                        fmt::format("at most {}", kMaxPriorityLevels));
    }
    if (chosen > levels || (levels > 0 && chosen == 0)) {
      return scope.Fail(
          "default_priority_level", fmt::format("default_priority_level is {}", chosen),
          fmt::format("from {} to priority_levels, which is {}", levels > 0 ? 1 : 0, levels));
    }
    batching.levels.assign(levels, batching.queue);
    batching.default_level = static_cast<std::uint32_t>(chosen);
    const std::map<std::uint64_t, inference::ModelQueuePolicy> policies(
        written.priority_queue_policy().begin(), written.priority_queue_policy().end());
    for (const auto& [level, policy] : policies) {
      if (level == 0 || level > levels) {
        scope.Fail("priority_queue_policy", fmt::format("priority_queue_policy of level {}", level),
                   fmt::format("levels up to priority_levels, which is {}", levels));
        continue;
      }
      // Entries of a map have no places of their own.
      batching.levels[level - 1] = ReadQueuePolicy(
          policy, Scope(policy, nullptr, scope.PlaceOf("priority_queue_policy"), scope.faults()));
    }
  }

  static QueuePolicy ReadQueuePolicy(const inference::ModelQueuePolicy& written,
                                     const Scope& scope) {
    QueuePolicy policy;
    if (written.timeout_action() == inference::ModelQueuePolicy::DELAY) {
      policy.on_timeout = OnTimeout::kDelay;
    } else if (written.timeout_action() != inference::ModelQueuePolicy::REJECT) {
      scope.Fail("timeout_action",
                 fmt::format("timeout_action is {}", static_cast<int>(written.timeout_action())),
                 "REJECT or DELAY");
    }
    policy.max_requests = written.max_queue_size();
    policy.allow_timeout_override =
        !written.has_allow_timeout_override() || written.allow_timeout_override();
    policy.default_timeout = ReadMicroseconds(scope, "default_timeout_microseconds",
                                              written.default_timeout_microseconds())
                                 .value_or(Duration(0));
    return policy;
  }

  void ReadWarmup() {
    if (config_.model_warmup().empty()) return;
    std::uint64_t runs = 0;
    std::uint64_t on_zeros = 0;
    for (int i = 0; i < config_.model_warmup_size(); ++i) {
      const inference::ModelWarmup& warmup = config_.model_warmup(i);
      // A sample without a count runs once.
      const std::uint32_t count = std::max(warmup.count(), 1u);
      runs += count;
      if (warmup.inputs().empty() && warmup.batch_size() <= 1) {
        on_zeros += count;
        continue;
      }
      WarmUpSample& sample = spec().warmup_samples.emplace_back();
      sample.name = warmup.name();
      sample.rows = std::max(warmup.batch_size(), 1u);
      sample.runs = count;
      const Scope scope = root_.Nested("model_warmup", warmup, i);
      const std::map<std::string, inference::ModelWarmup::Input> inputs(warmup.inputs().begin(),
                                                                        warmup.inputs().end());
      for (const auto& [name, input] : inputs) {
        sample.inputs.push_back(ReadWarmUpInput(name, input, scope));
      }
    }
    spec().warmup_runs =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(on_zeros, kMaxWarmupRuns));
    if (runs <= kMaxWarmupRuns) return;
    root_.Fail("model_warmup", fmt::format("model_warmup asks for {} runs", runs),
               fmt::format("at most {}", kMaxWarmupRuns));
  }

  WarmUpInput ReadWarmUpInput(const std::string& name, const inference::ModelWarmup::Input& written,
                              const Scope& scope) const {
    WarmUpInput input;
    input.name = name;
    const std::optional<DataType> type = FromProto(written.data_type());
    if (!type) {
      scope.Fail("inputs", fmt::format("warm-up input '{}' has no data type", name),
                 "data_type: TYPE_FP32 or another");
    }
    input.type = type.value_or(DataType::kFp32);
    input.dims.assign(written.dims().begin(), written.dims().end());
    for (const std::int64_t size : input.dims) {
      if (size > 0) continue;
      scope.Fail("inputs", fmt::format("a dimension of warm-up input '{}' is {}", name, size),
                 "a size from 1");
    }
    if (written.has_input_data_file()) {
      input.data = WarmUpInput::Data::kFile;
      const std::string file = "warmup/" + written.input_data_file();
      input.file = RelativeToFile(file, file_);
      if (!StaysInside(written.input_data_file()) || !IsFile(input.file)) {
        scope.Fail("inputs",
                   fmt::format("input_data_file of warm-up input '{}' is '{}'", name,
                               written.input_data_file()),
                   "a file in the folder warmup of the model's folder");
      }
    } else if (written.has_random_data()) {
      input.data = WarmUpInput::Data::kRandom;
    } else if (!written.has_zero_data()) {
      scope.Fail("inputs", fmt::format("warm-up input '{}' has no data", name),
                 "zero_data, random_data or input_data_file");
    }
    return input;
  }

  void ReadAnswers() {
    spec().response_cache = config_.response_cache().enable();
    if (config_.model_transaction_policy().decoupled()) {
      root_.Nested("model_transaction_policy", config_.model_transaction_policy())
          .Fail("decoupled", "decoupled is not served",
                "decoupled: false: one answer for each request");
    }
  }

  static constexpr std::int32_t kMaxInstances = 1024;
  // Times of batches are products with rows.
  static constexpr std::int32_t kMaxRows = 1'000'000;

  const inference::ModelConfig& config_;
  const std::string& file_;
  const Scope root_;
  ModelConfigFile result_;
};

}  // namespace

ModelConfigFile ParseModelConfig(const std::string& text, const std::string& file,
                                 const std::string& model_name, Faults& all_faults) {
  Faults faults;
  inference::ModelConfig config;
  ParseInfoTree tree;
  SyntaxFaults syntax(text, file, faults);
  pb::TextFormat::Parser parser;
  parser.RecordErrorsTo(&syntax);
  parser.WriteLocationsTo(&tree);
  parser.AllowUnknownField(true);
  parser.SetRecursionLimit(kMaxNesting);
  ModelConfigFile result;
  if (parser.ParseFromString(text, &config)) {
    result = Reader(config, tree, file, faults).Read(model_name);
  }
  result.spec.config_file = file;
  faults.Sort();
  all_faults.Append(std::move(faults));
  return result;
}

ModelConfigFile ParseModelConfigJson(const std::string& json, const std::string& source,
                                     const std::string& model_name, Faults& faults) {
  inference::ModelConfig config;
  const pb::util::Status parsed = pb::util::JsonStringToMessage(json, &config);
  if (!parsed.ok()) {
    faults.Add({source, 0, 0, std::string(parsed.message()), "a ModelConfig as JSON"});
    return ModelConfigFile();
  }
  const ParseInfoTree nowhere;
  ModelConfigFile result = Reader(config, nowhere, source, faults).Read(model_name);
  result.spec.config_file = source;
  return result;
}

}  // namespace duly
