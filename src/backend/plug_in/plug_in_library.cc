// SPDX-License-Identifier: Apache-2.0
#include "backend/plug_in/plug_in_library.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace duly::plug_in {
namespace {

constexpr const char* kEntry = "DulyBackendEntry";
// More than any model has: what is beyond is no number of tensors or dimensions, but garbage.
constexpr std::size_t kMaxTensors = 4096;
constexpr std::size_t kMaxRank = 64;

static_assert(static_cast<int>(DataType::kBool) + 1 == DULY_BOOL &&
              static_cast<int>(DataType::kUint64) + 1 == DULY_UINT64 &&
              static_cast<int>(DataType::kInt64) + 1 == DULY_INT64 &&
              static_cast<int>(DataType::kFp16) + 1 == DULY_FP16 &&
              static_cast<int>(DataType::kFp64) + 1 == DULY_FP64 &&
              static_cast<int>(DataType::kBytes) + 1 == DULY_BYTES);

std::optional<DataType> ToDataType(DulyType type) {
  if (type < DULY_BOOL || type > DULY_BYTES) return std::nullopt;
  return static_cast<DataType>(type - 1);
}

// It is shown to clients.
std::string Printable(const char* text) {
  std::string printable = text;
  std::ranges::replace_if(
      printable, [](char c) { return c < ' ' || c > '~'; }, '?');
  return printable;
}

Result<const DulyBackend*> FunctionsOf(const std::string& file) {
  const auto wrong = [&](std::string_view what) {
    return Error(StatusCode::kInvalidArgument,
                 "{}: {}: expected a back end of Duly's C interface (duly_backend.h), version {}",
                 file, what, DULY_BACKEND_ABI);
  };
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return wrong("there is no such file");
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return wrong(fmt::format("cannot be loaded: {}", dlerror()));
  const auto entry = reinterpret_cast<decltype(&DulyBackendEntry)>(dlsym(library, kEntry));
  const DulyBackend* functions = nullptr;
  if (entry != nullptr) {
    try {
      functions = entry(DULY_BACKEND_ABI);
    } catch (...) {
      return wrong(fmt::format("{} threw an exception", kEntry));
    }
  }
  dlclose(library);
  if (entry == nullptr) return wrong(fmt::format("has no function {}", kEntry));
  if (functions == nullptr) return wrong("does not have this version");
  if (functions->size < offsetof(DulyBackend, description)) {
    return wrong(fmt::format("has a table of {} bytes", functions->size));
  }
  if (functions->abi != DULY_BACKEND_ABI) {
    return wrong(fmt::format("has version {}", functions->abi));
  }
  if (functions->size < sizeof(DulyBackend)) {
    return wrong(
        fmt::format("has a table of {} bytes, which are {}", functions->size, sizeof(DulyBackend)));
  }
  std::vector<std::string_view> missing;
  if (functions->description == nullptr) missing.emplace_back("description");
  if (functions->open == nullptr) missing.emplace_back("open");
  if (functions->close == nullptr) missing.emplace_back("close");
  if (functions->load == nullptr) missing.emplace_back("load");
  if (functions->unload == nullptr) missing.emplace_back("unload");
  if (functions->run == nullptr) missing.emplace_back("run");
  if (missing.empty()) return functions;
  return wrong(fmt::format("has no {} in its table", fmt::join(missing, ", ")));
}

}  // namespace

Result<std::shared_ptr<Device>> Device::Open(const DeviceSpec& spec) {
  // A name without a folder would be looked for in the system's.
  const std::string file = std::filesystem::absolute(spec.plug_in.file).string();
  DULY_ASSIGN_OR_RETURN(const DulyBackend* const functions, FunctionsOf(file));
  const std::vector<DulyOption> options = WriteOptions(spec.plug_in.options);
  const DulyDeviceConfig config{.size = sizeof(DulyDeviceConfig),
                                .name = spec.name.c_str(),
                                .slots = std::max(spec.slots, 1U),
                                .threads = std::max(spec.threads_per_slot, 1U),
                                .cores = spec.cores.data(),
                                .core_count = spec.cores.size(),
                                .options = options.data(),
                                .option_count = options.size()};
  const std::shared_ptr<Device> device(new Device(file, functions));
  DulyDevice* handle = nullptr;
  Status opened = Call("opening the device", [&](char* message, std::size_t capacity) {
    return functions->open(&config, &handle, message, capacity);
  });
  if (opened.ok() && handle == nullptr) {
    opened = Status(StatusCode::kInternal, "opened a device that is NULL: expected a handle");
  }
  if (!opened.ok()) return Error(opened.WithContext(file));
  device->handle_ = handle;
  return device;
}

Device::~Device() {
  if (handle_ != nullptr) functions_->close(handle_);
}

std::string Device::description() const {
  return fmt::format("{} ({})", Printable(functions_->description),
                     std::filesystem::path(file_).filename().string());
}

Status ToStatus(DulyCode code, const char* message, std::string_view what) {
  if (code == DULY_OK) return Status();
  std::string text = Printable(message);
  if (text.empty()) text = fmt::format("{} failed, and it does not say why", what);
  switch (code) {
    case DULY_INVALID_ARGUMENT:
      return Status(StatusCode::kInvalidArgument, std::move(text));
    case DULY_NOT_FOUND:
      return Status(StatusCode::kNotFound, std::move(text));
    case DULY_INTERNAL:
      return Status(StatusCode::kInternal, std::move(text));
    default:
      return Status(StatusCode::kInternal,
                    fmt::format("{} (code {}: expected one of duly_backend.h)", text, code));
  }
}

Result<std::vector<TensorSpec>> ReadSpecs(const DulyTensorSpec* specs, std::size_t count,
                                          std::string_view side) {
  if (count > kMaxTensors || (specs == nullptr && count > 0)) {
    return Error(StatusCode::kInternal, "{} {}s{}: expected at most {}, and where they are", count,
                 side, specs == nullptr ? " at NULL" : "", kMaxTensors);
  }
  std::vector<TensorSpec> read;
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < count; ++i) {
    const DulyTensorSpec& spec = specs[i];
    if (spec.name == nullptr || *spec.name == '\0' || !names.insert(spec.name).second) {
      return Error(StatusCode::kInternal, "{} {} is called '{}': expected a name of its own", side,
                   i, spec.name == nullptr ? "" : Printable(spec.name));
    }
    const std::optional<DataType> type = ToDataType(spec.type);
    if (!type) {
      return Error(StatusCode::kInternal, "{} '{}' is of type {}: expected {} to {}", side,
                   Printable(spec.name), spec.type, DULY_BOOL, DULY_BYTES);
    }
    if (spec.rank > kMaxRank || (spec.shape == nullptr && spec.rank > 0)) {
      return Error(StatusCode::kInternal,
                   "{} '{}' has {} dimensions{}: expected at most {}, and where they are", side,
                   Printable(spec.name), spec.rank, spec.shape == nullptr ? " at NULL" : "",
                   kMaxRank);
    }
    Shape shape(spec.shape, spec.shape + spec.rank);
    if (std::ranges::any_of(shape, [](std::int64_t size) { return size < -1; })) {
      return Error(StatusCode::kInternal,
                   "{} '{}' is of shape {}: expected sizes, or -1 for any size", side,
                   Printable(spec.name), ToString(shape));
    }
    read.push_back({spec.name, *type, std::move(shape), spec.optional != 0});
  }
  return read;
}

std::vector<DulyTensorSpec> WriteSpecs(std::span<const TensorSpec> specs) {
  std::vector<DulyTensorSpec> written;
  for (const TensorSpec& spec : specs) {
    written.push_back({spec.name.c_str(), static_cast<DulyType>(spec.type) + 1,
                       spec.optional ? 1 : 0, spec.shape.data(), spec.shape.size()});
  }
  return written;
}

}  // namespace duly::plug_in
