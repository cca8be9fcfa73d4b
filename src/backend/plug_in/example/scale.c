// SPDX-License-Identifier: Apache-2.0

// A back end for Duly in plain C: y = factor * gain * x, element by element. An example, and what
// the tests load.
//
// A model is a text file of three lines,
//   scale 1
//   factor 2.5
//   end
// Its tensors are those of config.pbtxt: output k is input k, with the same type and shape. FP32
// and FP64 are scaled; a factor of 1 copies any type. The device's option `gain` is 1 if it is not
// given.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <duly_backend.h>

struct DulyDevice {
  double gain;
};

struct DulyVariant {
  double factor;
  size_t count;            // of inputs, and of outputs
  DulyTensorSpec* inputs;  // with names and shapes of their own
  DulyTensorSpec* outputs;
};

// True where `text` is a number and nothing else.
static int ParseNumber(const char* text, double* number) {
  char* end = NULL;
  *number = strtod(text, &end);
  return end != text && *end == '\0';
}

static DulyCode Open(const DulyDeviceConfig* config, DulyDevice** device, char* message,
                     size_t capacity) {
  double gain = 1;
  for (size_t i = 0; i < config->option_count; ++i) {
    const DulyOption* const option = &config->options[i];
    if (strcmp(option->key, "gain") != 0) {
      snprintf(message, capacity, "unknown option '%s': expected gain", option->key);
      return DULY_INVALID_ARGUMENT;
    }
    if (!ParseNumber(option->value, &gain)) {
      snprintf(message, capacity, "gain is '%s': expected a number", option->value);
      return DULY_INVALID_ARGUMENT;
    }
  }
  DulyDevice* const opened = malloc(sizeof(*opened));
  if (opened == NULL) {
    snprintf(message, capacity, "out of memory");
    return DULY_INTERNAL;
  }
  opened->gain = gain;
  *device = opened;
  return DULY_OK;
}

static void Close(DulyDevice* device) { free(device); }

static DulyCode ReadFactor(const char* path, double* factor, char* message, size_t capacity) {
  FILE* const file = fopen(path, "r");
  if (file == NULL) {
    snprintf(message, capacity, "cannot be read: %s", strerror(errno));
    return errno == ENOENT ? DULY_NOT_FOUND : DULY_INVALID_ARGUMENT;
  }
  char text[128];
  const size_t length = fread(text, 1, sizeof(text) - 1, file);
  fclose(file);
  text[length] = '\0';
  char number[32];
  int end = 0;
  if (sscanf(text, "scale 1 factor %31s end%n", number, &end) == 1 && end > 0 &&
      strspn(text + end, "\n") == length - (size_t)end && ParseNumber(number, factor)) {
    return DULY_OK;
  }
  snprintf(message, capacity, "not a model: expected the lines 'scale 1', 'factor F' and 'end'");
  return DULY_INVALID_ARGUMENT;
}

static void Unload(DulyVariant* variant) {
  for (size_t i = 0; i < variant->count; ++i) {
    free((void*)variant->inputs[i].name);
    free((void*)variant->inputs[i].shape);
    free((void*)variant->outputs[i].name);
    free((void*)variant->outputs[i].shape);
  }
  free(variant->inputs);
  free(variant->outputs);
  free(variant);
}

// What Duly passes is valid during the call only. On failure 0, and `to` can be freed.
static int CopySpec(const DulyTensorSpec* from, DulyTensorSpec* to) {
  const size_t name_size = strlen(from->name) + 1;
  const size_t shape_size = from->rank * sizeof(*from->shape);
  char* const name = malloc(name_size);
  int64_t* const shape = malloc(shape_size + 1);
  *to = *from;
  to->name = name;
  to->shape = shape;
  if (name == NULL || shape == NULL) return 0;
  memcpy(name, from->name, name_size);
  if (shape_size > 0) memcpy(shape, from->shape, shape_size);
  return 1;
}

static int CopySpecs(const DulyModelConfig* model, DulyVariant* variant) {
  variant->inputs = calloc(model->input_count + 1, sizeof(*variant->inputs));
  variant->outputs = calloc(model->input_count + 1, sizeof(*variant->outputs));
  if (variant->inputs == NULL || variant->outputs == NULL) return 0;
  for (size_t i = 0; i < model->input_count; ++i) {
    variant->count = i + 1;
    if (!CopySpec(&model->inputs[i], &variant->inputs[i])) return 0;
    if (!CopySpec(&model->outputs[i], &variant->outputs[i])) return 0;
  }
  return 1;
}

static DulyCode CheckTensors(const DulyModelConfig* model, double factor, char* message,
                             size_t capacity) {
  if (model->input_count == 0 || model->input_count != model->output_count) {
    snprintf(message, capacity, "%zu inputs and %zu outputs: expected as many, in config.pbtxt",
             model->input_count, model->output_count);
    return DULY_INVALID_ARGUMENT;
  }
  for (size_t i = 0; i < model->input_count; ++i) {
    const DulyTensorSpec* const input = &model->inputs[i];
    const DulyTensorSpec* const output = &model->outputs[i];
    if (input->optional || input->type != output->type || input->rank != output->rank ||
        (input->rank > 0 &&
         memcmp(input->shape, output->shape, input->rank * sizeof(*input->shape)) != 0)) {
      snprintf(
          message, capacity,
          "input '%s' and output '%s' differ: expected the same type and shape, and a required "
          "input",
          input->name, output->name);
      return DULY_INVALID_ARGUMENT;
    }
    if (factor != 1 && input->type != DULY_FP32 && input->type != DULY_FP64) {
      snprintf(message, capacity,
               "input '%s' cannot be scaled by %g: expected FP32 or FP64, or a factor of 1",
               input->name, factor);
      return DULY_INVALID_ARGUMENT;
    }
  }
  return DULY_OK;
}

static DulyCode Load(DulyDevice* device, const DulyModelConfig* model, DulyVariant** variant,
                     DulyVariantInfo* info, char* message, size_t capacity) {
  double factor = 1;
  DulyCode code = ReadFactor(model->path, &factor, message, capacity);
  if (code != DULY_OK) return code;
  factor *= device->gain;
  code = CheckTensors(model, factor, message, capacity);
  if (code != DULY_OK) return code;
  DulyVariant* const loaded = calloc(1, sizeof(*loaded));
  if (loaded == NULL || !CopySpecs(model, loaded)) {
    if (loaded != NULL) Unload(loaded);
    snprintf(message, capacity, "out of memory");
    return DULY_INTERNAL;
  }
  loaded->factor = factor;
  info->inputs = loaded->inputs;
  info->input_count = loaded->count;
  info->outputs = loaded->outputs;
  info->output_count = loaded->count;
  info->memory_bytes = sizeof(*loaded);
  *variant = loaded;
  return DULY_OK;
}

static void Scale(double factor, DulyType type, const DulyTensor* from, void* to) {
  if (factor != 1 && type == DULY_FP32) {
    const float* const x = from->data;
    float* const y = to;
    for (size_t i = 0; i < from->bytes / sizeof(*x); ++i) y[i] = (float)(factor * x[i]);
  } else if (factor != 1) {
    const double* const x = from->data;
    double* const y = to;
    for (size_t i = 0; i < from->bytes / sizeof(*x); ++i) y[i] = factor * x[i];
  } else {
    memcpy(to, from->data, from->bytes);
  }
}

// Several at once: nothing here is written to but the outputs.
static DulyCode Run(DulyVariant* variant, const DulyRun* run, char* message, size_t capacity) {
  for (size_t i = 0; i < variant->count; ++i) {
    if (!run->wanted[i]) continue;
    const DulyTensor* const input = &run->inputs[i];
    void* const output = run->output(run->host, i, input->shape, input->rank, input->bytes);
    if (output == NULL) {
      snprintf(message, capacity, "output %zu was not taken", i);
      return DULY_INTERNAL;
    }
    Scale(variant->factor, variant->inputs[i].type, input, output);
  }
  return DULY_OK;
}

const DulyBackend* DulyBackendEntry(uint32_t abi) {
  static const DulyBackend backend = {
      .size = sizeof(DulyBackend),
      .abi = DULY_BACKEND_ABI,
      .description = "scale 1.0",
      .open = Open,
      .close = Close,
      .load = Load,
      .unload = Unload,
      .run = Run,
  };
  return abi == DULY_BACKEND_ABI ? &backend : NULL;
}
