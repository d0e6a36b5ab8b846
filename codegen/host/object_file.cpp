#include "codegen/host/object_file.h"

#include <elf.h>

namespace lapidary::codegen::host {
namespace {

// Sections of the object, by index.
enum : uint16_t { kNull, kData, kRelocations, kReserved, kStack, kSymbols, kStrings, kSectionNames, kSectionCount };

template <class T>
void append(std::vector<char>& to, const T& value) {
  to.insert(to.end(), reinterpret_cast<const char*>(&value), reinterpret_cast<const char*>(&value) + sizeof(T));
}

uint32_t append_name(std::vector<char>& to, const std::string& name) {
  const auto offset = static_cast<uint32_t>(to.size());
  to.insert(to.end(), name.c_str(), name.c_str() + name.size() + 1);
  return offset;
}

Elf64_Ehdr file_header(Arch arch, uint64_t sections_at) {
  Elf64_Ehdr header{};
  std::copy_n(ELFMAG, SELFMAG, header.e_ident);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = arch == Arch::X86_64 ? EM_X86_64 : EM_AARCH64;
  header.e_version = EV_CURRENT;
  header.e_shoff = sections_at;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = kSectionCount;
  header.e_shstrndx = kSectionNames;
  return header;
}

// Sections are appended one after the other; the table of their headers comes last.
class Writer {
 public:
  Writer() : file_(sizeof(Elf64_Ehdr)), names_(1) {}

  void section(uint16_t index, const std::string& name, uint32_t type, uint64_t flags, uint64_t alignment,
               const std::vector<char>& content) {
    file_.resize((file_.size() + alignment - 1) / alignment * alignment);
    Elf64_Shdr& header = headers_[index];
    header.sh_name = append_name(names_, name);
    header.sh_type = type;
    header.sh_flags = flags;
    header.sh_addralign = alignment;
    header.sh_offset = file_.size();
    header.sh_size = content.size();
    file_.insert(file_.end(), content.begin(), content.end());
  }
  Elf64_Shdr& header(uint16_t index) { return headers_[index]; }

  std::vector<char> finish(Arch arch) {
    append_name(names_, ".shstrtab");
    const std::vector<char> names = names_;
    section(kSectionNames, ".shstrtab", SHT_STRTAB, 0, 1, names);
    file_.resize((file_.size() + 7) / 8 * 8);
    const Elf64_Ehdr header = file_header(arch, file_.size());
    for (const Elf64_Shdr& section : headers_) append(file_, section);
    std::copy_n(reinterpret_cast<const char*>(&header), sizeof header, file_.begin());
    return std::move(file_);
  }

 private:
  std::vector<char> file_, names_;
  Elf64_Shdr headers_[kSectionCount] = {};
};

// Symbol 0 is the null symbol, 1 the data section, then globals in order of appearance.
class SymbolTable {
 public:
  SymbolTable() : names_(1) {
    append(symbols_, Elf64_Sym{});
    append(symbols_, Elf64_Sym{0, ELF64_ST_INFO(STB_LOCAL, STT_SECTION), STV_DEFAULT, kData, 0, 0});
  }
  uint32_t add(const std::string& name, uint16_t section, uint64_t value) {
    const auto [found, is_new] = index_.try_emplace(name, count_);
    if (!is_new) return found->second;
    const unsigned char type = section == SHN_UNDEF ? STT_NOTYPE : STT_OBJECT;
    append(symbols_, Elf64_Sym{append_name(names_, name), static_cast<unsigned char>(ELF64_ST_INFO(STB_GLOBAL, type)),
                               STV_HIDDEN, section, value, 0});
    return count_++;
  }
  const std::vector<char>& symbols() const { return symbols_; }
  const std::vector<char>& names() const { return names_; }

 private:
  std::vector<char> symbols_, names_;
  std::map<std::string, uint32_t> index_;
  uint32_t count_ = 2;
};

}  // namespace

uint64_t DataObject::add_zeros(uint64_t bytes, uint64_t alignment) {
  const uint64_t offset = (bytes_.size() + alignment - 1) / alignment * alignment;
  bytes_.resize(offset + bytes);
  return offset;
}

uint64_t DataObject::add_bytes(const std::vector<char>& content, uint64_t alignment) {
  const uint64_t offset = add_zeros(content.size(), alignment);
  std::ranges::copy(content, bytes_.begin() + static_cast<int64_t>(offset));
  return offset;
}

uint64_t DataObject::add_string(const std::string& text) {
  const auto [found, is_new] = strings_.try_emplace(text, bytes_.size());
  if (is_new) bytes_.insert(bytes_.end(), text.c_str(), text.c_str() + text.size() + 1);
  return found->second;
}

void DataObject::reserve_section(const std::string& section, const std::string& symbol, uint64_t bytes, bool writable) {
  reserved_section_ = section;
  reserved_symbol_ = symbol;
  reserved_bytes_ = bytes;
  reserved_writable_ = writable;
}

std::vector<char> DataObject::elf(Arch arch) const {
  const uint64_t absolute = arch == Arch::X86_64 ? R_X86_64_64 : R_AARCH64_ABS64;
  SymbolTable symbols;
  for (const auto& [name, offset] : defined_) symbols.add(name, kData, offset);
  if (!reserved_symbol_.empty()) symbols.add(reserved_symbol_, kReserved, 0);
  std::vector<char> relocations;
  for (const Pointer& pointer : pointers_) {
    const uint32_t symbol = pointer.symbol.empty() ? 1 : symbols.add(pointer.symbol, SHN_UNDEF, 0);
    append(relocations,
           Elf64_Rela{pointer.at, ELF64_R_INFO(uint64_t{symbol}, absolute), static_cast<int64_t>(pointer.target)});
  }

  Writer out;
  out.section(kData, ".data.rel.ro.tables", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 64, bytes_);
  out.section(kRelocations, ".rela.data.rel.ro.tables", SHT_RELA, SHF_INFO_LINK, 8, relocations);
  out.section(kReserved, reserved_section_, SHT_NOBITS, SHF_ALLOC | (reserved_writable_ ? SHF_WRITE : 0), 4096, {});
  out.section(kStack, ".note.GNU-stack", SHT_PROGBITS, 0, 1, {});
  out.section(kSymbols, ".symtab", SHT_SYMTAB, 0, 8, symbols.symbols());
  out.section(kStrings, ".strtab", SHT_STRTAB, 0, 1, symbols.names());
  out.header(kReserved).sh_size = reserved_bytes_;
  out.header(kRelocations).sh_link = kSymbols;
  out.header(kRelocations).sh_info = kData;
  out.header(kRelocations).sh_entsize = sizeof(Elf64_Rela);
  out.header(kSymbols).sh_link = kStrings;
  out.header(kSymbols).sh_info = 2;  // the first global
  out.header(kSymbols).sh_entsize = sizeof(Elf64_Sym);
  return out.finish(arch);
}

}  // namespace lapidary::codegen::host
