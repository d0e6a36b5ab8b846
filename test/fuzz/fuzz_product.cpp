// The C interface of a small product under any calls: binds of any shape, stride, type, size and pointer, limits of any
// size, runs and reads in any order. Every call answers with a status, and a run that says LPD_OK computed what it
// must.

#include <array>
#include <memory>

#include "runtime/lapidary.h"
#include "test/fuzz/target.h"
#include "test/runtime/hand_model.h"

namespace {

using namespace lapidary;

constexpr std::array<int64_t, 12> kExtents{
    0, 1, 2, 3, 5, 64, -1, -2, INT64_MAX, INT64_MIN, INT64_C(1) << 61, INT64_C(1) << 40};
constexpr uint32_t kDepth = 3;

int64_t extent(fuzz::Choices& data) { return data.flag() ? data.in_range<int64_t>(0, 40) : data.one_of(kExtents); }

// A tensor that fits more often than not, in memory of exactly the bytes it says it has.
struct Bound {
  std::vector<std::byte> memory;
  std::vector<int64_t> dims, strides;
  lpd_tensor tensor{};

  explicit Bound(fuzz::Choices& data) {
    const bool fits = data.in_range(0, 3) > 0;
    dims = {extent(data), 3};
    if (!fits) {
      dims.resize(data.in_range<size_t>(0, 5));
      for (int64_t& dim : dims) dim = extent(data);
    }
    const bool small = dims.size() == 2 && dims[0] >= 0 && dims[0] < 1000 && dims[1] == 3;
    int64_t bytes = small ? dims[0] * 12 : 16;
    if (!fits) bytes = data.in_range<int64_t>(0, 512);
    memory.resize(static_cast<size_t>(bytes));
    for (std::byte& byte : memory) byte = static_cast<std::byte>(data.any<uint8_t>() % 64);
    tensor = {sizeof tensor, 0, memory.data(), bytes, 1, static_cast<uint8_t>(dims.size()), dims.data(), nullptr};
    if (fits) return;
    switch (data.in_range(0, 6)) {
      case 0:
        tensor.dtype = data.any<uint8_t>();
        break;
      case 1:
        tensor.data = nullptr;
        break;
      case 2:
        tensor.bytes = data.one_of(kExtents) > bytes ? bytes : data.one_of(std::to_array({INT64_MIN, INT64_C(-1)}));
        break;
      case 3:
        tensor.dims = nullptr;
        break;
      case 4:
        tensor.size = data.any<uint32_t>() % sizeof tensor;
        break;
      case 5:
        tensor.device = data.any<int32_t>();
        break;
      case 6:
        for (size_t i = 0; i < dims.size(); ++i) strides.push_back(extent(data));
        tensor.strides = strides.data();
    }
  }
};

void check_status(int status) {
  if (status < LPD_OK || status > LPD_SYSTEM) fuzz::found("an unknown status");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  fuzz::Choices data(bytes, size);
  const test::HandModel hand(kDepth, data.in_range(1, 9));
  lpd_options options{sizeof options, data.in_range(-1, 2)};
  if (data.flag()) options.max_bytes = extent(data);
  if (data.flag()) options.max_loop = extent(data);
  lpd_instance* instance = nullptr;
  const lpd_status created = lpd_create(&hand.model, &options, &instance);
  check_status(created);
  if (created != LPD_OK) return 0;
  const std::vector<int64_t> symbol{extent(data)};
  lpd_arena_bytes(&hand.model, symbol.data()), lpd_workspace_bytes(&hand.model, symbol.data());
  std::vector<std::unique_ptr<Bound>> alive;
  while (data.left() > 0) {
    const int slot = data.in_range(-1, 4);
    switch (data.in_range(0, 5)) {
      case 0:
      case 1: {
        alive.push_back(std::make_unique<Bound>(data));
        const lpd_status bound = lpd_bind(instance, slot, data.in_range(0, 20) ? &alive.back()->tensor : nullptr);
        check_status(bound);
        if (bound == LPD_OK && slot > 2) fuzz::found("a slot that is not there");
        break;
      }
      case 2: {
        const int cancel = data.in_range(0, 8) == 0;
        check_status(lpd_run(instance, data.in_range(0, 8) ? 0 : slot, &cancel));
        break;
      }
      case 3: {
        lpd_tensor read{.size = sizeof read};
        const lpd_status got = lpd_output(instance, slot, &read);
        check_status(got);
        int64_t sum = 0;
        for (int64_t i = 0; got == LPD_OK && read.data && i < read.bytes; ++i)
          sum += static_cast<const uint8_t*>(read.data)[i];
        volatile int64_t keep = sum;
        (void)keep;
        break;
      }
      case 4: {
        lpd_step_profile profile{.size = sizeof profile};
        check_status(lpd_profile_enable(instance, slot));
        check_status(lpd_profile(instance, data.in_range(-1, 1), data.in_range(-1, 9), &profile));
        break;
      }
      case 5: {
        lpd_tensor_info info{.size = sizeof info};
        check_status(lpd_describe(&hand.model, slot, &info));
        if (!lpd_error(instance)) fuzz::found("no text of an error");
      }
    }
  }
  lpd_destroy(instance);
  return 0;
}
