#include "tools/ranks.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "ir/dtype.h"

namespace lapidary::tools {

namespace {

std::string own_library() {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "lapidary_mpi.so").string();
}

lapidary_reducer_library join(const std::string& given) {
  const std::string path = given.empty() ? own_library() : given, name = printable(path);
  if (given.empty() && !std::filesystem::exists(path))
    throw Error(Fault::File, fmt::format("--data-parallel needs '{}', which is built where MPI is found "
                                         "(libopenmpi-dev), or --reducer",
                                         name));
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);  // MPI's own plug-ins want to see it
  if (!handle) throw Error(Fault::File, fmt::format("the reducer '{}' cannot be opened: {}", name, dlerror()));
  auto* function = reinterpret_cast<lapidary_join_function*>(dlsym(handle, LAPIDARY_JOIN_SYMBOL));
  if (!function) throw Error(Fault::File, fmt::format("the reducer '{}' has no {}", name, LAPIDARY_JOIN_SYMBOL));
  lapidary_reducer_library library = {};
  if (const char* wrong = function(&library))
    throw Error(Fault::File, fmt::format("the reducer '{}': {}", name, wrong));
  if (library.version != LAPIDARY_REDUCER_VERSION)
    throw Error(Fault::File, fmt::format("the reducer '{}' is of version {}, expected {}", name, library.version,
                                         LAPIDARY_REDUCER_VERSION));
  return library;
}

// FNV-1a
int64_t hash_of(const std::string& text) {
  uint64_t hash = UINT64_C(0xCBF29CE484222325);
  for (char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * UINT64_C(0x100000001B3);
  return static_cast<int64_t>(hash);
}

}  // namespace

Ranks::Ranks(const std::string& library) : library_(join(library)) {}

Ranks::~Ranks() {
  if (library_) library_->leave(library_->reducer.self);
}

int Ranks::run(const std::function<int()>& work) {
  if (!library_) return work();
  const auto end_all = [&](const char* what, Fault fault) {
    std::fputs(fmt::format("rank {}: {}\n", rank(), what).c_str(), stderr);
    std::fflush(nullptr);
    library_->abort(library_->reducer.self, static_cast<int>(fault));
  };
  try {
    return work();
  } catch (const FailedElsewhere& failure) { return failure.code; } catch (const FailedTogether& error) {
    std::fputs(fmt::format("{}\n", error.what()).c_str(), stderr);  // before mpirun sees one that ends, and ends all
    return static_cast<int>(error.fault);
  } catch (const Error& error) { end_all(error.what(), error.fault); } catch (const std::bad_alloc&) {
    end_all("out of memory", Fault::File);
  } catch (const std::exception& error) { end_all(error.what(), Fault::Internal); }
  LPD_UNREACHABLE("ranks that were ended go on");
}

InstanceOptions Ranks::instance_options(bool for_device, std::string& note) {
  if (!library_) return {};
  if (!for_device) return {.reducer = &library_->reducer};
  const char* none = "the reducer knows no devices";
  lpd_reducer reducer = {};
  if (library_->on_device) none = library_->on_device(library_->reducer.self, library_->local_rank, &reducer);
  if (none)
    note = fmt::format("note: {}: gradients are summed in the host's memory", none);
  else
    on_device_ = reducer;
  return {.cuda_device = library_->local_rank, .reducer = none ? &library_->reducer : &*on_device_};
}

Ranks::Share Ranks::share_of(int64_t all) const {
  const int64_t each = all / count(), left = all % count();
  return {each * rank() + std::min(rank(), left), each + (rank() < left)};
}

void Ranks::sum(std::vector<int64_t>& numbers) const {
  if (!library_ || numbers.empty()) return;
  const lpd_reducer& reducer = library_->reducer;
  if (reducer.start(reducer.self, numbers.data(), std::ssize(numbers), static_cast<uint8_t>(DType::I64)) ||
      reducer.finish(reducer.self, numbers.data()))
    throw Error(Fault::File, fmt::format("a sum over {} ranks failed", reducer.ranks));
}

bool Ranks::any(bool mine) const {
  std::vector<int64_t> count = {mine};
  sum(count);
  return count[0] > 0;
}

// Its bytes as integers, to which the others add nothing.
void Ranks::take_from_first(HostTensor& tensor) const {
  std::vector<int64_t> words((tensor.bytes.size() + 7) / 8);
  if (is_first() && !words.empty()) std::memcpy(words.data(), tensor.bytes.data(), tensor.bytes.size());
  sum(words);
  if (!words.empty()) std::memcpy(tensor.bytes.data(), words.data(), tensor.bytes.size());
}

void Ranks::must_agree(const std::string& on, const std::string& what) const {
  std::vector<int64_t> hashes(static_cast<size_t>(count()));
  hashes[static_cast<size_t>(rank())] = hash_of(on);
  sum(hashes);
  if (std::ranges::adjacent_find(hashes, std::not_equal_to()) != hashes.end())
    fail_together(Error(Fault::Usage, fmt::format("the ranks differ in {}", what)));
}

void Ranks::together(const std::function<void()>& body) const {
  if (!library_) return body();
  std::optional<Error> mine;
  try {
    body();
  } catch (const Error& error) { mine = error; }
  std::vector<int64_t> codes(static_cast<size_t>(count()));
  if (mine) codes[static_cast<size_t>(rank())] = static_cast<int64_t>(mine->fault);
  sum(codes);
  const auto failed = std::ranges::find_if(codes, [](int64_t code) { return code != 0; });
  if (failed == codes.end()) return;
  if (failed - codes.begin() == rank()) throw FailedTogether(mine->fault, mine->what());
  throw FailedElsewhere{static_cast<int>(*failed)};
}

void Ranks::fail_together(const Error& error) const {
  if (!library_) throw error;
  if (is_first()) throw FailedTogether(error.fault, error.what());
  throw FailedElsewhere{static_cast<int>(error.fault)};
}

}  // namespace lapidary::tools
