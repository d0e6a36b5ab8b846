// A kernel as the host may call it, with parameters as cuLaunchKernel takes them.
#pragma once

#include <type_traits>
#include <utility>

#include "test/cuda/emulator/scheduler.h"

// How many parameters, and the bytes of each.
struct emulated_parameter_sizes {
  unsigned count;
  const unsigned* bytes;
};

#pragma GCC visibility push(hidden)  // each shared object of kernels has its own
namespace emulator {

template <class... Parameter, size_t... I>
void launch_with(void (*kernel)(Parameter...), std::index_sequence<I...>, const unsigned* grid, const unsigned* block,
                 size_t shared_bytes, unsigned order, void** parameters) {
  launch(dim3{grid[0], grid[1], grid[2]}, dim3{block[0], block[1], block[2]}, shared_bytes, order,
         [=] { kernel(*static_cast<std::remove_reference_t<Parameter>*>(parameters[I])...); });
}

template <class... Parameter>
void launch_kernel(void (*kernel)(Parameter...), const unsigned* grid, const unsigned* block, size_t shared_bytes,
                   unsigned order, void** parameters) {
  launch_with(kernel, std::index_sequence_for<Parameter...>(), grid, block, shared_bytes, order, parameters);
}

template <class... Parameter>
emulated_parameter_sizes parameter_sizes(void (*)(Parameter...)) {
  static const unsigned bytes[] = {unsigned(sizeof(Parameter))...};
  return {sizeof...(Parameter), bytes};
}

}  // namespace emulator
#pragma GCC visibility pop

#define EMULATED_KERNEL(name)                                                                                  \
  extern "C" const emulated_parameter_sizes emulated_parameters_##name = emulator::parameter_sizes(name);      \
  extern "C" void emulated_##name(const unsigned grid[3], const unsigned block[3], unsigned long shared_bytes, \
                                  unsigned order, void** parameters) {                                         \
    emulator::launch_kernel(name, grid, block, shared_bytes, order, parameters);                               \
  }
