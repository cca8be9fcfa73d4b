// SPDX-License-Identifier: Apache-2.0

// A back end that keeps its promises but for one: ENTRY (a macro) says which one of the library,
// the device's option `fault` which one of its functions. In C++, as back ends may be. Its models,
// which need no file, have x, FP32 [-1,2], and answer y, zeros of the same shape; with the
// parameter `strings`, y is BYTES [-1,1].

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "backend/plug_in/duly_backend.h"

struct DulyDevice {
  std::string fault;
};
struct DulyVariant {
  std::string fault;
  std::int64_t x_shape[2] = {-1, 2};
  std::int64_t y_shape[2] = {-1, 2};
  DulyTensorSpec x[2] = {{"x", DULY_FP32, 0, x_shape, 2}, {"x", DULY_FP32, 0, x_shape, 2}};
  DulyTensorSpec y[2] = {{"y", DULY_FP32, 0, y_shape, 2}, {"y2", DULY_FP32, 0, y_shape, 2}};
};

namespace {

enum Entry {
  kComplete,
  kNull,
  kOtherVersion,
  kTinyTable,
  kShortTable,
  kHoles,
  kThrows,
  kNoEntry,
  kLonger
};

DulyCode Open(const DulyDeviceConfig* config, DulyDevice** device, char* message,
              std::size_t capacity) {
  const std::string fault = config->option_count == 1 ? config->options[0].value : "";
  if (fault == "open throws") throw fault;
  if (fault == "open fills the message") std::memset(message, '\xe4', capacity);
  if (fault == "open fills the message" || fault == "open is silent") return DULY_INTERNAL;
  if (fault == "open answers another code") return 99;
  if (fault != "open gives no device") *device = new DulyDevice{fault};
  return DULY_OK;
}

void Close(DulyDevice* device) { delete device; }

DulyCode Load(DulyDevice* device, const DulyModelConfig* model, DulyVariant** variant,
              DulyVariantInfo* info, char* /*message*/, std::size_t /*capacity*/) {
  const std::string& fault = device->fault;
  if (fault == "load gives no variant") return DULY_OK;
  auto* const loaded = new DulyVariant{.fault = fault};
  info->inputs = loaded->x;
  info->input_count = 1;
  info->outputs = loaded->y;
  info->output_count = 1;
  info->memory_bytes = 123;
  if (model->parameter_count > 0) {
    loaded->y[0].type = DULY_BYTES;
    loaded->y_shape[1] = 1;
  }
  if (fault == "output is not wanted") info->output_count = 2;
  if (fault == "inputs are nowhere") info->inputs = nullptr;
  if (fault == "inputs are too many") info->input_count = std::size_t{1} << 60;
  if (fault == "names are equal") info->input_count = 2;
  if (fault == "name is missing") loaded->y[0].name = nullptr;
  if (fault == "name is another") loaded->x[0].name = "z";
  if (fault == "type is unknown") loaded->y[0].type = 15;
  if (fault == "rank is garbage") loaded->y[0].rank = 65;
  if (fault == "shape is nowhere") loaded->y[0].shape = nullptr;
  if (fault == "shape is negative") loaded->y_shape[1] = -2;
  *variant = loaded;
  return DULY_OK;
}

void Unload(DulyVariant* variant) { delete variant; }

DulyCode Run(DulyVariant* variant, const DulyRun* run, char* message, std::size_t capacity) {
  const std::string& fault = variant->fault;
  if (fault == "run throws") throw 1;
  if (fault == "run fails" || fault == "run cannot take the shape") {
    std::strncpy(message, "the chip is hot", capacity);
    return fault == "run fails" ? DULY_INTERNAL : DULY_INVALID_ARGUMENT;
  }
  if (fault == "run answers nothing") return DULY_OK;
  std::int64_t shape[3] = {run->rows, variant->y_shape[1], 1};
  std::size_t index = 0;
  std::size_t rank = 2;
  std::size_t bytes = std::size_t{8} * run->rows;
  const std::int64_t* sizes = shape;
  if (fault == "output is another" || fault == "output is not wanted") index = 1;
  if (fault == "output is too short") bytes -= 1;
  if (fault == "output is too long") bytes += 1;
  if (fault == "output is endless") bytes = std::size_t{1} << 62;
  if (fault == "rows are missing") shape[0] -= 1;
  if (fault == "rows are negative") shape[0] = -1;
  if (fault == "columns are more") shape[1] = 3;
  if (fault == "dimensions are more") rank = 3;
  if (fault == "dimensions are nowhere") sizes = nullptr;
  void* const output = run->output(run->host, index, sizes, rank, bytes);
  if (output == nullptr) return fault == "rows are missing" ? DULY_OK : DULY_INTERNAL;
  if (fault == "output is answered twice") run->output(run->host, index, sizes, rank, bytes);
  std::memset(output, fault == "lengths are wrong" ? 0x01 : 0, bytes);
  // "" and four bytes for each row.
  for (std::size_t row = 0; variant->y[0].type == DULY_BYTES && row < run->rows; ++row) {
    if (fault.empty()) static_cast<std::uint8_t*>(output)[8 * row] = 4;
  }
  return DULY_OK;
}

}  // namespace

#ifndef ENTRY_NAME
#define ENTRY_NAME DulyBackendEntry
#endif
const DulyBackend* ENTRY_NAME(std::uint32_t abi) {
  static DulyBackend backend = {.size = sizeof(DulyBackend),
                                .abi = DULY_BACKEND_ABI,
                                .description = "hostile",
                                .open = Open,
                                .close = Close,
                                .load = Load,
                                .unload = Unload,
                                .run = Run};
  switch (ENTRY) {
    case kNull:
      return nullptr;
    case kOtherVersion:
      backend.abi = abi + 1;
      break;
    case kTinyTable:
      backend.size = 4;
      break;
    case kShortTable:
      backend.size = offsetof(DulyBackend, run);
      break;
    case kLonger:  // of a newer header; not hostile
      backend.size += sizeof(void*);
      break;
    case kHoles:
      backend.close = nullptr;
      backend.run = nullptr;
      break;
    case kThrows:
      throw abi;
    default:
      break;
  }
  return &backend;
}
