// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "queueing/device.h"

namespace duly::placement {

// What is placed, and where: plain data. Others are named by their index in the cluster's lists.

struct DeviceType {
  std::string name;
  queueing::Device device;
};

// What a model needs on one type of device. Fields as in queueing::ServedClass.
struct ModelOnDevice {
  queueing::ServiceTime service;
  double swap_s = 0;
  double after_s = 0;
  std::uint64_t memory_bytes = 0;  // of a back end, on the node
};

struct Model {
  std::string name;
  std::vector<std::optional<ModelOnDevice>> on;  // by type; nothing: it does not run there
};

// A machine. Its devices share its memory, as those of the boards that this is for do.
struct Node {
  struct Device {
    std::string name;
    int type = 0;
  };
  std::string name;
  std::uint64_t memory_bytes = 0;
  double overhead_s = 0;  // of every answer, outside of the devices: network, preparing
  std::vector<Device> devices;
};

struct Cluster {
  std::vector<DeviceType> types;
  std::vector<Model> models;
  std::vector<Node> nodes;
};

// A bound of the response, overhead included.
struct Promise {
  double bound_s = 0;
  double quantile = 0.95;  // 0: of the mean
};

struct Application {
  std::string name;
  int model = 0;
  double rate_per_s = 0;
  Promise slo;
  std::uint64_t memory_bytes = 0;  // beside the model: its frontend
  // Applications of one model share a back end on a device, unless they brought weights of their
  // own.
  bool own_weights = false;
};

}  // namespace duly::placement
