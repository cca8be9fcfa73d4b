// SPDX-License-Identifier: Apache-2.0
#pragma once

// A back end for Duly that is built outside of it: a shared library with one function,
// DulyBackendEntry. C11 and C++; this file is all that it needs. docs/backends.md shows how.
//
// Ownership: what Duly passes is Duly's, and valid until the call returns. What the back end
// returns by pointer is the back end's, valid as long as is said beside it. Nobody frees what the
// other has allocated. Structures from Duly begin with their size, so that later versions of this
// file can add members behind the others; a back end that uses such a member looks at `size` first.
//
// Threads: Duly opens, loads and closes from one thread at a time, and runs from several, beside
// loads as well. What that allows stands beside each function. All of them may block.
//
// Failure: a code other than DULY_OK, and a sentence for a person in `message`, which has
// `capacity` bytes and is to end with a zero (snprintf does it); ASCII. Duly puts the names of
// library, file and model before it. No exception and no longjmp leaves a back end.
//
// Text is UTF-8 and ends with a zero. Byte order is the machine's, which is little-endian.

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Counts changes that break; additions do not change it.
#define DULY_BACKEND_ABI 1u

// NOLINTBEGIN(modernize-*): C

typedef int32_t DulyCode;
enum {
  DULY_OK = 0,
  DULY_INVALID_ARGUMENT = 3,  // not a model, an option or a shape that is not taken
  DULY_NOT_FOUND = 5,         // no such file or device
  DULY_INTERNAL = 13          // everything else
};

// Element types of the Open Inference Protocol. A tensor is row-major without gaps. DULY_BYTES:
// each element is a uint32_t, its length, and so many bytes; elements follow one another unaligned.
typedef int32_t DulyType;
enum {
  DULY_BOOL = 1,  // a byte, 0 or 1
  DULY_UINT8 = 2,
  DULY_UINT16 = 3,
  DULY_UINT32 = 4,
  DULY_UINT64 = 5,
  DULY_INT8 = 6,
  DULY_INT16 = 7,
  DULY_INT32 = 8,
  DULY_INT64 = 9,
  DULY_FP16 = 10,
  DULY_BF16 = 11,
  DULY_FP32 = 12,
  DULY_FP64 = 13,
  DULY_BYTES = 14
};

typedef struct DulyOption {
  const char* key;
  const char* value;
} DulyOption;

// What a model says of one of its tensors.
typedef struct DulyTensorSpec {
  const char* name;
  DulyType type;
  int32_t optional;      // an input that a request may leave out: 1
  const int64_t* shape;  // -1: any size. The first is that of rows where the model batches
  size_t rank;
} DulyTensorSpec;

typedef struct DulyDeviceConfig {
  size_t size;
  const char* name;       // as the node's configuration calls it
  uint32_t slots;         // runs at once, of all its variants together
  uint32_t threads;       // that each run may use
  const uint32_t* cores;  // that they may use; none: any. The threads of runs are bound to them
  size_t core_count;
  const DulyOption* options;  // of the node's configuration, by key. Unknown ones are to be refused
  size_t option_count;
} DulyDeviceConfig;

typedef struct DulyModelConfig {
  size_t size;
  const char* name;
  int64_t version;
  const char* variant;
  const char* path;   // of a file; of the version's folder where the configuration names no file
  uint32_t max_rows;  // of a batch; 0: the model does not batch, or Duly cannot say yet
  const DulyTensorSpec* inputs;  // as configured; none: what the file says
  size_t input_count;
  const DulyTensorSpec* outputs;
  size_t output_count;
  const DulyOption* parameters;  // of config.pbtxt, by key
  size_t parameter_count;
} DulyModelConfig;

// What a loaded variant says of itself; all pointers are valid until it is unloaded. Duly compares
// the tensors with the configuration's, and takes them where that has none: a model then batches,
// by up to 32 rows, when the first size of every tensor is -1.
typedef struct DulyVariantInfo {
  size_t size;
  const DulyTensorSpec* inputs;
  size_t input_count;
  const DulyTensorSpec* outputs;
  size_t output_count;
  uint64_t memory_bytes;  // that it keeps, on its device or here; 0: unknown
} DulyVariantInfo;

// An input of a batch, of a shape that suits its DulyTensorSpec.
typedef struct DulyTensor {
  const int64_t* shape;
  size_t rank;
  const void* data;  // aligned to its element; NULL: an optional input that was left out
  size_t bytes;
} DulyTensor;

typedef struct DulyRun {
  size_t size;
  uint32_t rows;             // the first size of all inputs; 1 where the model does not batch
  const DulyTensor* inputs;  // in the order of DulyVariantInfo
  const uint8_t* wanted;     // by output in the order of DulyVariantInfo: 0 for those not asked for
  void* host;
  // Memory of `bytes` bytes for an output, aligned to 64, to be filled before the run returns. Once
  // for each wanted output, from the thread of the run. `bytes` is that of the shape; of
  // DULY_BYTES, that of the elements. NULL when Duly does not take it (the run then fails, whatever
  // it returns): the back end returns DULY_INTERNAL.
  void* (*output)(void* host, size_t index, const int64_t* shape, size_t rank, size_t bytes);
} DulyRun;

// Handles; the back end defines what they point to. Never NULL.
typedef struct DulyDevice DulyDevice;
typedef struct DulyVariant DulyVariant;

typedef struct DulyBackend {
  size_t size;              // sizeof(DulyBackend)
  uint32_t abi;             // DULY_BACKEND_ABI
  const char* description;  // library and version: "tflite 2.14"

  // A device of the node. On failure *device is not looked at.
  DulyCode (*open)(const DulyDeviceConfig* config, DulyDevice** device, char* message,
                   size_t capacity);
  // After the last of its variants is unloaded.
  void (*close)(DulyDevice* device);

  // Loads a variant, whose `info` comes zeroed but for its size. While others of the device run. On
  // failure nothing stays behind.
  DulyCode (*load)(DulyDevice* device, const DulyModelConfig* model, DulyVariant** variant,
                   DulyVariantInfo* info, char* message, size_t capacity);
  // While none of its runs is under way; others of the device may.
  void (*unload)(DulyVariant* variant);

  // One batch. As many at once as the device has slots, of the same variant too.
  DulyCode (*run)(DulyVariant* variant, const DulyRun* run, char* message, size_t capacity);
} DulyBackend;

// The library's only symbol. Returns a structure that stays valid and unchanged, or NULL where the
// library does not have version `abi` of this interface. May be called again, for each device. The
// library is never unloaded.
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const DulyBackend*
DulyBackendEntry(uint32_t abi);

// NOLINTEND(modernize-*)

#ifdef __cplusplus
}
#endif
