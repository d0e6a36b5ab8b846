#include "codegen/host/archive.h"

#include <ar.h>

#include "ir/error.h"

namespace lapidary::codegen::host {
namespace {

constexpr size_t kPage = 4096;

// The same for every member of every archive: no time, no owner.
std::string header(const std::string& name, int64_t bytes) {
  return fmt::format("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}{}", name, 0, 0, 0, 644, bytes, ARFMAG);
}

void append_big_endian(std::string& to, size_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) to += static_cast<char>(value >> shift);
}

}  // namespace

std::vector<char> archive_head(const std::string& member, const std::vector<std::string>& symbols, int64_t bytes) {
  LPD_CHECK(member.size() < 16 && bytes % 2 == 0, "no archive of {} with {} bytes", member, bytes);
  std::string names;
  for (const std::string& symbol : symbols) names += symbol + '\0';
  const size_t before = SARMAG + sizeof(ar_hdr) + 4 + 4 * symbols.size();
  const size_t begin = (before + names.size() + sizeof(ar_hdr) + kPage - 1) / kPage * kPage;
  names.resize(begin - sizeof(ar_hdr) - before);

  std::string index;
  append_big_endian(index, symbols.size());
  for (size_t i = 0; i < symbols.size(); ++i) append_big_endian(index, begin - sizeof(ar_hdr));
  index += names;
  const std::string head =
      ARMAG + header("/", static_cast<int64_t>(index.size())) + index + header(member + "/", bytes);
  LPD_CHECK(head.size() == begin);
  return {head.begin(), head.end()};
}

}  // namespace lapidary::codegen::host
