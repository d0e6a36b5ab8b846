// Devices to estimate a model's time, energy and price on, as data. Nothing here is measured: see devices.cpp.
#pragma once

#include <span>

namespace lapidary::tools {

struct Device {
  const char* name;
  double memory_gb;         // of 1e9 bytes
  double tflops;            // float32, outside tensor cores
  double gbytes;            // of memory a second
  double watts;             // of the whole board; 0: not known
  double dollars_per_hour;  // to rent one; 0: not known
};

std::span<const Device> device_table();

}  // namespace lapidary::tools
