#include "codegen/host/device_tables.h"

#include <fmt/format.h>

#include <cctype>
#include <cstddef>

#include "codegen/cpu/compile.h"
#include "codegen/cuda/emitter.h"
#include "codegen/cuda/tensor_maps.h"
#include "ir/error.h"
#include "runtime/abi.h"

namespace lapidary::codegen::host {
namespace {

static_assert(cuda::kThreadsPerBlock == LPD_BLOCK_THREADS);

std::string image_symbol(size_t image) { return fmt::format("lpd_image_{}", image); }

// "sm_90a" → 90, for that device alone.
lpd_device_image image_entry(const cuda::PackedImage& image) {
  lpd_device_image entry{};
  const size_t number = image.arch.find('_') + 1;
  entry.bytes = static_cast<int64_t>(image.frame.size());
  entry.plain_bytes = image.plain_bytes;
  entry.module_count = static_cast<uint32_t>(image.modules.size());
  entry.capability = static_cast<uint32_t>(std::stoul(image.arch.substr(number)));
  entry.made_by = image.made_by;
  entry.is_ptx = image.arch.starts_with("compute_");
  entry.exact = !std::isdigit(static_cast<unsigned char>(image.arch.back()));
  return entry;
}

// CUtensorMapDataType; a product's operands of f32 are rounded to tf32 on their way.
uint32_t map_type(const cuda::TensorMap& map) {
  switch (map.dtype) {
    case DType::I32:
      return 3;
    case DType::F16:
      return 6;
    case DType::BF16:
      return 9;
    case DType::F32:
      return map.is_rounded ? 11 : 7;
    default:
      LPD_CHECK(bit_width(map.dtype) == 8, "no tensor map of {}", name_of(map.dtype));
      return 0;
  }
}

lpd_number number_entry(const cuda::MapNumber& number, int64_t bytes) {
  return {number.factor * bytes, number.integer < 0 ? LPD_NO_SLOT : static_cast<uint32_t>(number.integer), 0};
}

lpd_tensor_map map_entry(const cuda::TensorMap& map) {
  lpd_tensor_map entry{};
  const int64_t bytes = bit_width(map.dtype) / 8;
  entry.buffer = static_cast<uint32_t>(map.buffer);
  entry.type = map_type(map);
  entry.rank = static_cast<uint32_t>(map.extents.size());
  entry.offset = number_entry(map.offset, bytes);
  for (size_t i = 0; i < map.extents.size(); ++i) {
    entry.box[i] = static_cast<uint32_t>(map.box[i]);
    entry.extents[i] = number_entry(map.extents[i], 1);
    if (i > 0) entry.strides[i - 1] = number_entry(map.strides[i - 1], bytes);
  }
  return entry;
}

// `modules`: of each of the device's kernels. The host's have entries without a name.
uint64_t add_kernels(DataObject& out, const Program& program, uint32_t level, const std::vector<uint32_t>& modules,
                     std::vector<lpd_tensor_map>& maps) {
  std::vector<lpd_device_kernel> kernels;
  size_t on_device = 0;
  for (const loops::Kernel& kernel : program.kernels) {
    if (loops::is_on_host(kernel)) {
      kernels.emplace_back();
      continue;
    }
    const std::vector<cuda::TensorMap> own = cuda::tensor_maps(kernel);
    lpd_device_kernel entry{};
    entry.shared_bytes = cuda::shared_bytes(kernel);
    entry.threads = kernel.threads ? static_cast<uint32_t>(cuda::block_threads(kernel)) : 0;
    entry.persistent = cuda::is_persistent(kernel);
    entry.first_map = static_cast<uint32_t>(maps.size());
    entry.map_count = static_cast<uint32_t>(own.size());
    entry.module = modules.at(on_device++);
    kernels.push_back(entry);
    for (const cuda::TensorMap& map : own) maps.push_back(map_entry(map));
  }
  const uint64_t table = out.add_array(kernels);
  for (uint32_t i = 0; i < kernels.size(); ++i)
    if (!loops::is_on_host(program.kernels[i]))
      out.point(table + i * sizeof(lpd_device_kernel) + offsetof(lpd_device_kernel, name),
                out.add_string(cpu::kernel_symbol(i, level)));
  return table;
}

// The symbols of images are numbered in the product, not in the level.
uint64_t add_images(DataObject& out, const std::vector<cuda::PackedImage>& images,
                    const std::vector<size_t>& of_level) {
  std::vector<lpd_device_image> entries;
  for (size_t i : of_level) entries.push_back(image_entry(images[i]));
  const uint64_t table = out.add_array(entries);
  for (size_t i = 0; i < of_level.size(); ++i) {
    const uint64_t at = table + i * sizeof(lpd_device_image);
    out.point(at + offsetof(lpd_device_image, arch), out.add_string(images[of_level[i]].arch));
    out.point(at + offsetof(lpd_device_image, modules), out.add_array(images[of_level[i]].modules));
    out.point_to_symbol(at + offsetof(lpd_device_image, content), image_symbol(of_level[i]));
  }
  return table;
}

}  // namespace

uint64_t add_device_code(DataObject& out, const Program& program, uint32_t level,
                         const std::vector<cuda::PackedImage>& images) {
  std::vector<size_t> of_level;
  for (size_t i = 0; i < images.size(); ++i)
    if (images[i].level == level) of_level.push_back(i);
  std::vector<lpd_tensor_map> maps;
  std::vector<uint32_t> modules;
  for (size_t i : of_level) {
    LPD_CHECK(modules.empty() || modules == images[i].kernel_modules, "kernels are in other modules for {}",
              images[i].arch);
    modules = images[i].kernel_modules;
  }
  const uint64_t kernel_table = add_kernels(out, program, level, modules, maps);
  const uint64_t image_table = add_images(out, images, of_level);
  const uint64_t map_table = out.add_array(maps);
  lpd_device_code code{};
  code.kernel_count = static_cast<uint32_t>(program.kernels.size());
  code.image_count = static_cast<uint32_t>(of_level.size());
  const uint64_t at = out.add_array(std::vector{code});
  out.point(at + offsetof(lpd_device_code, kernels), kernel_table);
  out.point(at + offsetof(lpd_device_code, maps), map_table);
  out.point(at + offsetof(lpd_device_code, images), image_table);
  return at;
}

std::vector<char> image_object(const std::vector<cuda::PackedImage>& images, Arch arch) {
  DataObject out;
  for (size_t i = 0; i < images.size(); ++i) out.define(image_symbol(i), out.add_bytes(images[i].frame, 1));
  return out.elf(arch);
}

}  // namespace lapidary::codegen::host
