#include "tools/loaded_model.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "ir/dtype.h"
#include "ir/error.h"

namespace lapidary::tools {

int64_t HostTensor::elements() const {
  if (std::ranges::find(dims, 0) != dims.end()) return 0;  // however large the others
  int64_t count = 1;
  for (int64_t dim : dims) count *= dim;
  return count;
}

namespace {

// Of a call that failed.
Fault fault_of(lpd_status status) {
  switch (status) {
    case LPD_WRONG_INPUT:
    case LPD_INVALID_ARGUMENT:
    case LPD_LIMIT:
      return Fault::Input;
    case LPD_UNSUPPORTED_CPU:
    case LPD_NO_DRIVER:
    case LPD_DRIVER_TOO_OLD:
    case LPD_NO_DEVICE:
    case LPD_NO_DEVICE_CODE:
    case LPD_PTX_TOO_NEW:
      return Fault::Unsupported;
    case LPD_OK:
    case LPD_OUT_OF_MEMORY:
    case LPD_CANCELLED:
    case LPD_SYSTEM:
    case LPD_DEVICE_ERROR:
      break;
  }
  return Fault::File;
}

}  // namespace

template <typename Function>
Function LoadedModel::symbol(const char* name) const {
  std::string full = symbol_ + "_" + name;
  void* found = dlsym(handle_, full.c_str());
  if (!found) throw Error(Fault::File, fmt::format("the library has no symbol {}", full));
  return reinterpret_cast<Function>(found);
}

void LoadedModel::check(lpd_status status) const {
  if (status == LPD_OK) return;
  const char* text = instance_ ? symbol<decltype(&lpd_error)>("error")(instance_) : "";
  throw Error(fault_of(status),
              text && *text ? text : fmt::format("the model failed with status {}", static_cast<int>(status)));
}

namespace {

SlotInfo slot_info(const lpd_tensor_info& info) {
  SlotInfo slot{info.name, info.dtype, {}, {}};
  for (int axis = 0; axis < info.rank; ++axis) {
    slot.dims.push_back(info.dims[axis]);
    slot.dim_names.push_back(info.dim_names && info.dim_names[axis] ? info.dim_names[axis] : "");
  }
  return slot;
}

}  // namespace

LoadedModel::LoadedModel(const std::string& library, const std::string& symbol_name, int threads,
                         const RunLimits& limits, const InstanceOptions& instance)
    : symbol_(symbol_name) {
  handle_ = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle_) throw Error(Fault::File, fmt::format("the library cannot be opened: {}", dlerror()));
  lpd_options options = {};
  options.size = sizeof options;
  options.threads = threads;
  options.max_bytes = limits.max_bytes;
  options.max_loop = limits.max_loop;
  options.cuda_device = instance.cuda_device;
  options.reducer = instance.reducer;
  if (const char* feature = symbol<const char* (*)()>("missing_cpu_feature")())
    throw Error(Fault::Unsupported, fmt::format("this CPU has no {}, which the target's code needs", feature));
  if (threads > LPD_MAX_THREADS)
    throw Error(Fault::Usage, fmt::format("{} threads, at most {}", threads, LPD_MAX_THREADS));
  check(symbol<lpd_status (*)(const lpd_options*, lpd_instance**)>("create")(&options, &instance_));
  auto describe = symbol<lpd_status (*)(int, lpd_tensor_info*)>("describe");
  int inputs = symbol<int32_t (*)()>("input_count")(), outputs = symbol<int32_t (*)()>("output_count")();
  for (int slot = 0; slot < inputs + outputs; ++slot) {
    lpd_tensor_info info{.size = sizeof info};
    check(describe(slot, &info));
    (slot < inputs ? inputs_ : outputs_).push_back(slot_info(info));
  }
  auto describe_state = symbol<lpd_status (*)(int, lpd_state_info*)>("state_describe");
  for (int state = 0; state < symbol<int32_t (*)()>("state_count")(); ++state) {
    lpd_state_info info{.size = sizeof info};
    check(describe_state(state, &info));
    states_.push_back({info.name, info.kind, info.dtype, std::vector<int64_t>(info.dims, info.dims + info.rank)});
  }
  run_ = symbol<decltype(&lpd_run)>("run");
}

LoadedModel::~LoadedModel() {
  if (instance_) symbol<decltype(&lpd_destroy)>("destroy")(instance_);
  if (handle_) dlclose(handle_);
}

void LoadedModel::bind_input(int index, const HostTensor& tensor) {
  lpd_tensor bound = {};
  bound.size = sizeof bound;
  std::vector<lpd_string>& views = views_[index];
  views.clear();
  for (const std::string& text : tensor.strings) views.push_back({text.data(), static_cast<int64_t>(text.size())});
  const bool strings = tensor.dtype == static_cast<uint8_t>(DType::String);
  const std::span bytes = strings ? std::as_bytes(std::span(views)) : std::span(tensor.bytes);
  bound.data = const_cast<std::byte*>(bytes.data());
  bound.bytes = static_cast<int64_t>(bytes.size());
  bound.dtype = tensor.dtype;
  bound.rank = static_cast<uint8_t>(tensor.dims.size());
  bound.dims = tensor.dims.data();
  check(symbol<decltype(&lpd_bind)>("bind")(instance_, index, &bound));
}

void LoadedModel::run(int entry) { check(run_(instance_, entry, nullptr)); }

int LoadedModel::entry(const char* name) const { return symbol<int32_t (*)(const char*)>("entry_index")(name); }

namespace {

lpd_tensor view_of(const HostTensor& tensor) {
  lpd_tensor view = {};
  view.size = sizeof view;
  view.data = const_cast<std::byte*>(tensor.bytes.data());
  view.bytes = static_cast<int64_t>(tensor.bytes.size());
  view.dtype = tensor.dtype;
  view.rank = static_cast<uint8_t>(tensor.dims.size());
  view.dims = tensor.dims.data();
  return view;
}

}  // namespace

HostTensor LoadedModel::state(int index) {
  const StateInfo& info = states_[static_cast<size_t>(index)];
  HostTensor tensor{info.dtype, info.dims};
  tensor.bytes.resize(static_cast<size_t>(*byte_size(static_cast<DType>(info.dtype), tensor.elements())));
  if (tensor.bytes.empty()) return tensor;
  const lpd_tensor view = view_of(tensor);
  check(symbol<decltype(&lpd_state_get)>("state_get")(instance_, index, &view));
  return tensor;
}

void LoadedModel::set_state(int index, const HostTensor& tensor) {
  if (tensor.bytes.empty()) return;
  const lpd_tensor view = view_of(tensor);
  check(symbol<decltype(&lpd_state_set)>("state_set")(instance_, index, &view));
}

void LoadedModel::save(const std::string& path, const std::string& note) {
  check(symbol<decltype(&lpd_save)>("save")(instance_, path.c_str(), note.c_str()));
}

std::string LoadedModel::load(const std::string& path, std::string& warning) {
  std::string note(size_t{1} << 17, '\0');
  check(symbol<decltype(&lpd_load)>("load")(instance_, path.c_str(), note.data(), static_cast<int64_t>(note.size())));
  warning = symbol<decltype(&lpd_error)>("error")(instance_);
  return note.c_str();
}

HostTensor LoadedModel::output(int index) {
  lpd_tensor found = {};
  found.size = sizeof found;
  check(symbol<decltype(&lpd_output)>("output")(instance_, static_cast<int>(inputs_.size()) + index, &found));
  HostTensor tensor{found.dtype, std::vector<int64_t>(found.dims, found.dims + found.rank), {}};
  if (found.dtype == static_cast<uint8_t>(DType::String)) {
    const auto* texts = static_cast<const lpd_string*>(found.data);
    for (int64_t i = 0; i < tensor.elements(); ++i)
      tensor.strings.emplace_back(texts[i].data, static_cast<size_t>(texts[i].size));
    return tensor;
  }
  const auto* data = static_cast<const std::byte*>(found.data);
  tensor.bytes.assign(data, data + found.bytes);
  return tensor;
}

void LoadedModel::profile(bool on) { check(symbol<decltype(&lpd_profile_enable)>("profile_enable")(instance_, on)); }

std::vector<LoadedModel::StepProfile> LoadedModel::profiles() {
  int count = symbol<decltype(&lpd_profile_count)>("profile_count")(instance_, 0);
  auto get = symbol<decltype(&lpd_profile)>("profile");
  std::vector<StepProfile> result;
  for (int step = 0; step < count; ++step) {
    lpd_step_profile profile{.size = sizeof profile};
    check(get(instance_, 0, step, &profile));
    result.push_back({profile.kernel, profile.origin, profile.nanoseconds, profile.runs, profile.flops, profile.bytes,
                      profile.registers, profile.local_bytes, profile.shared_bytes});
  }
  return result;
}

}  // namespace lapidary::tools
