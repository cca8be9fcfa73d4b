// SPDX-License-Identifier: Apache-2.0
#include "backend/onnxruntime/provider.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <onnxruntime_session_options_config_keys.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "backend/onnxruntime/runtime_library.h"
#include "base/mutex.h"

namespace duly::onnx {
namespace {

constexpr std::string_view kSuffix = "ExecutionProvider";

std::string_view ShortName(std::string_view name) {
  if (name.ends_with(kSuffix)) name.remove_suffix(kSuffix.size());
  return name;
}

// "tensorrt", "TensorRT" and "TensorrtExecutionProvider" are the same to people.
bool SameProvider(std::string_view a, std::string_view b) {
  return std::ranges::equal(ShortName(a), ShortName(b), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

struct CacheOptions {
  std::string_view provider;
  std::vector<std::pair<std::string_view, std::string_view>> on;  // what switches it on
  std::vector<std::string_view> folder;
};

// How providers are told where to keep what they have compiled. Source: their documentation.
const std::vector<CacheOptions>& Caches() {
  static const std::vector<CacheOptions> kCaches{
      {"Tensorrt",
       {{"trt_engine_cache_enable", "1"}, {"trt_timing_cache_enable", "1"}},
       {"trt_engine_cache_path", "trt_timing_cache_path"}},
      {"NvTensorRTRTX", {}, {"nv_runtime_cache_path"}},
      {"OpenVINO", {}, {"cache_dir"}}};
  return kCaches;
}

// An option of the configuration goes before what `cache` says.
Status AddCache(ProviderSpec& spec) {
  if (spec.cache_folder.empty()) return Status();
  std::vector<std::string_view> known;
  for (const CacheOptions& cache : Caches()) {
    known.push_back(cache.provider);
    if (!SameProvider(cache.provider, spec.name)) continue;
    for (const auto& [key, value] : cache.on) spec.options.emplace(key, value);
    for (const std::string_view key : cache.folder) spec.options.emplace(key, spec.cache_folder);
    return Status();
  }
  return Status(StatusCode::kInvalidArgument,
                fmt::format("'cache' of a provider for which Duly knows none: expected no such "
                            "key, or one of {}",
                            fmt::join(known, ", ")));
}

// The generic call takes the short names, two of which are spelled otherwise than the long ones.
std::string GenericName(std::string_view name) {
  for (const std::string_view spelled : {"XNNPACK", "WebGPU"}) {
    if (SameProvider(name, spelled)) return std::string(spelled);
  }
  return std::string(ShortName(name));
}

// CUDA's and TensorRT's options are objects of the library, which takes pairs of texts into them.
template <typename Options, typename Create, typename Update, typename Release>
std::unique_ptr<Options, Release> MakeOptions(const std::map<std::string, std::string>& options,
                                              Create create, Update update, Release release) {
  Options* raw = nullptr;
  Ort::ThrowOnError(create(&raw));
  std::unique_ptr<Options, Release> made(raw, release);
  std::vector<const char*> keys;
  std::vector<const char*> values;
  for (const auto& [key, value] : options) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  Ort::ThrowOnError(update(raw, keys.data(), values.data(), keys.size()));
  return made;
}

#if ORT_API_VERSION >= 22
constexpr std::array<std::pair<std::string_view, OrtHardwareDeviceType>, 3> kHardware{
    {{"cpu", OrtHardwareDeviceType_CPU},
     {"gpu", OrtHardwareDeviceType_GPU},
     {"npu", OrtHardwareDeviceType_NPU}}};

std::string_view HardwareName(OrtHardwareDeviceType type) {
  for (const auto& [name, known] : kHardware) {
    if (known == type) return name;
  }
  return "other";
}

// A plug-in belongs to the library's environment, which ends with its last user: one that has
// plug-ins is kept.
void Register(const std::string& file) {
  static Mutex mutex;
  static std::set<std::string>* const registered = new std::set<std::string>;
  const MutexLock lock(mutex);
  if (registered->count(file) > 0) return;
  static Ort::Env* const kept = new Ort::Env();
  kept->RegisterExecutionProviderLibrary(file.c_str(), file);
  registered->insert(file);
}
#endif

}  // namespace

Result<Provider> Provider::Find(const ProviderSpec& spec, Ort::Env& env) {
  Provider provider;
  provider.spec_ = spec;
  provider.env_ = &env;
  if (const Status cache = AddCache(provider.spec_); !cache.ok()) return Error(cache);
  if (spec.plug_in.empty()) {
    const std::vector<std::string> built_in = Ort::GetAvailableProviders();
    for (const std::string& name : built_in) {
      if (!SameProvider(name, spec.name)) continue;
      provider.name_ = name;
      return provider;
    }
    std::vector<std::string_view> names;
    for (const std::string& name : built_in) names.push_back(ShortName(name));
    return Error(StatusCode::kNotFound,
                 "ONNX Runtime {} has no such provider: expected one of {}, or 'library' with the "
                 "plug-in that has it",
                 OnnxRuntimeVersion(), fmt::join(names, ", "));
  }
#if ORT_API_VERSION >= 22
  try {
    Register(spec.plug_in);
  } catch (const Ort::Exception& e) {
    return Error(StatusCode::kInvalidArgument, "{}: not a plug-in of ONNX Runtime {}: {}",
                 spec.plug_in, OnnxRuntimeVersion(), e.what());
  }
  std::vector<std::string> others;
  for (const Ort::ConstEpDevice& device : env.GetEpDevices()) {
    const std::string_view hardware = HardwareName(device.Device().Type());
    if (SameProvider(device.EpName(), spec.name) &&
        (spec.hardware.empty() || spec.hardware == hardware)) {
      provider.name_ = device.EpName();
      provider.devices_ = {device};
      return provider;
    }
    others.push_back(fmt::format("{} on {}", ShortName(device.EpName()), hardware));
  }
  return Error(StatusCode::kNotFound, "{}: found no {}{}{}: expected one of {}", spec.plug_in,
               spec.name, spec.hardware.empty() ? "" : " on ", spec.hardware,
               fmt::join(others, ", "));
#else
  return Error(StatusCode::kInvalidArgument,
               "{}: plug-ins need ONNX Runtime 1.22 or later: Duly was built with 1.{}",
               spec.plug_in, ORT_API_VERSION);
#endif
}

Status Provider::Append(Ort::SessionOptions& options) const {
  try {
    const std::unordered_map<std::string, std::string> taken(spec_.options.begin(),
                                                             spec_.options.end());
    if (!spec_.cpu_fallback) options.AddConfigEntry(kOrtSessionOptionsDisableCPUEPFallback, "1");
#if ORT_API_VERSION >= 22
    if (!devices_.empty()) {
      options.AppendExecutionProvider_V2(*env_, devices_, taken);
      return Status();
    }
#endif
    const OrtApi& api = Ort::GetApi();
    if (SameProvider(name_, "CUDA")) {
      options.AppendExecutionProvider_CUDA_V2(*MakeOptions<OrtCUDAProviderOptionsV2>(
          spec_.options, api.CreateCUDAProviderOptions, api.UpdateCUDAProviderOptions,
          api.ReleaseCUDAProviderOptions));
    } else if (SameProvider(name_, "Tensorrt")) {
      options.AppendExecutionProvider_TensorRT_V2(*MakeOptions<OrtTensorRTProviderOptionsV2>(
          spec_.options, api.CreateTensorRTProviderOptions, api.UpdateTensorRTProviderOptions,
          api.ReleaseTensorRTProviderOptions));
    } else if (!SameProvider(name_, "CPU")) {
      options.AppendExecutionProvider(GenericName(name_), taken);
    }
    return Status();
  } catch (const Ort::Exception& e) {
    std::vector<std::string> given;
    for (const auto& [key, value] : spec_.options) given.push_back(key + "=" + value);
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("{} cannot be used with the options '{}': {}", name_,
                              fmt::join(given, " "), e.what()));
  }
}

}  // namespace duly::onnx
