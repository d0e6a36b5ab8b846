// lld reads and writes files. Each input goes into an anonymous one (memfd) that lld opens through /proc/self/fd; the
// output is a pipe, for which lld prepares the whole result in memory and then writes it. So it meets no full disk and
// leaves nothing behind.
//
// The weights take no part in this. They are a section without content (SHT_NOBITS), which the linker script sets last,
// so that code and tables stay near each other; it becomes a read-only segment of its own. Afterwards section and
// segment are made to say that their content follows at the end of the file. 1 GiB links like none: in 10 ms.
//
// An object is lld's relocatable link (-r) of what a library would hold; local_symbols.cpp then hides its inside.
//
// lld keeps its state in globals: links run one at a time. Test: test/codegen/link_test.cpp.
#include "codegen/cpu/link.h"

#include <elf.h>
#include <lld/Common/CommonLinkerContext.h>
#include <lld/Common/Driver.h>
#include <llvm/Support/raw_ostream.h>

#include <mutex>

#include "codegen/cpu/local_symbols.h"
#include "codegen/cpu/memory_file.h"
#include "codegen/host/embedded.h"
#include "ir/error.h"

LLD_HAS_DRIVER(elf)

namespace lapidary::codegen::cpu {
namespace {

constexpr uint64_t kPage = 4096;

std::string version_script(const LinkInput& input) {
  std::string names;
  for (const auto& [name, symbol] : input.exports) names += name + "; ";
  return "{ global: " + names + "local: *; };";
}

std::string placing_script(const std::string& section) {
  return fmt::format("SECTIONS {{ {0} : {{ *({0}) }} }} INSERT AFTER .bss;\n", section);
}

std::vector<std::string> arguments(LinkAs kind, const LinkInput& input, int jobs) {
  const bool x86 = input.arch == Arch::X86_64;
  std::vector<std::string> list = {"ld.lld",
                                   "-m",
                                   x86 ? "elf_x86_64" : "aarch64linux",
                                   "--gc-sections",
                                   "--color-diagnostics=never",
                                   fmt::format("--threads={}", jobs)};
  const auto add = [&](std::initializer_list<const char*> more) { list.insert(list.end(), more.begin(), more.end()); };
  if (kind == LinkAs::Object) {
    add({"-r"});
    for (const auto& [name, symbol] : input.exports) list.push_back("--undefined=" + symbol);
    return list;
  }
  add({"--build-id=none", "--hash-style=gnu", "-z", "now", "-z", "defs", "-z", "noexecstack", "--strip-all",
       "--as-needed"});
  if (kind == LinkAs::Program) {
    add({"-pie", "-e", "lpd_start", "--dynamic-linker",
         x86 ? "/lib64/ld-linux-x86-64.so.2" : "/lib/ld-linux-aarch64.so.1"});
    return list;
  }
  add({"-shared", "-Bsymbolic"});
  for (const auto& [name, symbol] : input.exports) list.push_back(fmt::format("--defsym={}={}", name, symbol));
  return list;
}

// The first line of what lld said, without its prefix.
std::string first_line(std::string text) {
  text = text.substr(0, text.find('\n'));
  for (std::string_view prefix : {"ld.lld: ", "error: "})
    if (text.rfind(prefix, 0) == 0) text.erase(0, prefix.size());
  return text;
}

void run_lld(const std::vector<std::string>& list) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  std::vector<const char*> pointers;
  for (const std::string& argument : list) pointers.push_back(argument.c_str());
  std::string said;
  llvm::raw_string_ostream stream(said);
  const bool fine = lld::elf::link(pointers, stream, stream, /*exitEarly=*/false, /*disableOutput=*/false);
  lld::CommonLinkerContext::destroy();
  if (fine) return;
  throw Error(Fault::Internal, "linking: " + first_line(said));
}

template <class T>
T& at(std::vector<char>& file, uint64_t offset) {
  LPD_CHECK(offset + sizeof(T) <= file.size(), "a linked file is cut short");
  return *reinterpret_cast<T*>(file.data() + offset);
}

Elf64_Shdr* find_section(std::vector<char>& file, const std::string& name) {
  const auto& header = at<Elf64_Ehdr>(file, 0);
  const uint64_t names = at<Elf64_Shdr>(file, header.e_shoff + header.e_shstrndx * sizeof(Elf64_Shdr)).sh_offset;
  for (int i = 0; i < header.e_shnum; ++i) {
    auto& section = at<Elf64_Shdr>(file, header.e_shoff + i * sizeof(Elf64_Shdr));
    if (name == &at<char>(file, names + section.sh_name)) return &section;
  }
  return nullptr;
}

Elf64_Phdr& segment_at(std::vector<char>& file, uint64_t address) {
  const auto& header = at<Elf64_Ehdr>(file, 0);
  for (int i = 0; i < header.e_phnum; ++i) {
    auto& segment = at<Elf64_Phdr>(file, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (segment.p_type == PT_LOAD && segment.p_vaddr == address) return segment;
  }
  LPD_UNREACHABLE("no segment at {:#x}", address);
}

// Gives the section's content its place behind everything else.
int64_t append_reserved(std::vector<char>& file, const std::string& name) {
  Elf64_Shdr* section = name.empty() ? nullptr : find_section(file, name);
  if (!section) return 0;
  LPD_CHECK(section->sh_type == SHT_NOBITS, "the section {} has content already", name);
  uint64_t offset = (file.size() + kPage - 1) / kPage * kPage;
  if (at<Elf64_Ehdr>(file, 0).e_type != ET_REL) {
    Elf64_Phdr& segment = segment_at(file, section->sh_addr);
    LPD_CHECK(segment.p_filesz == 0 && segment.p_memsz == section->sh_size && segment.p_flags == PF_R &&
                  section->sh_addr % kPage == 0,
              "the section {} was not placed alone", name);
    offset += (segment.p_vaddr - offset) % segment.p_align;  // pages may be larger than ours
    segment.p_offset = offset;
    segment.p_filesz = section->sh_size;
  }
  section->sh_type = SHT_PROGBITS;
  section->sh_offset = offset;
  const auto bytes = static_cast<int64_t>(section->sh_size);
  file.resize(offset);
  return bytes;
}

}  // namespace

Linked link(LinkAs kind, const LinkInput& input, int jobs) {
  std::vector<std::string> list = arguments(kind, input, jobs);
  std::vector<MemoryFile> files;
  auto add = [&](const std::string& option, std::string_view content) {
    files.emplace_back(content);
    list.push_back(option + files.back().path());
  };
  if (kind == LinkAs::Library) add("--version-script=", version_script(input));
  if (kind != LinkAs::Object && !input.reserved_section.empty())
    add("--script=", placing_script(input.reserved_section));
  for (const std::vector<char>& object : input.objects) add("", {object.data(), object.size()});
  for (std::string_view archive : input.archives) add("", archive);
  add("", host::runtime_archive(input.arch));
  if (kind != LinkAs::Object) {
    add("", host::libc_stub(input.arch));
    add("", host::libm_stub(input.arch));
  }
  PipeReader output;
  list.insert(list.end(), {"-o", output.path()});
  run_lld(list);
  Linked linked{output.finish(), 0};
  if (kind == LinkAs::Object) linked.bytes = with_local_symbols(linked.bytes, input.exports);
  linked.reserved_bytes = append_reserved(linked.bytes, input.reserved_section);
  return linked;
}

}  // namespace lapidary::codegen::cpu
