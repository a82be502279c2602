#include "vmm/x86_64/acpi_aml.h"

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace watchsnap::aml {
namespace {

// Opcodes, ACPI 6.5 §20.2.2–20.2.6.
constexpr char kZeroOp = 0x00;
constexpr char kOneOp = 0x01;
constexpr char kNameOp = 0x08;
constexpr char kBytePrefix = 0x0a;
constexpr char kWordPrefix = 0x0b;
constexpr char kDWordPrefix = 0x0c;
constexpr char kStringPrefix = 0x0d;
constexpr char kQWordPrefix = 0x0e;
constexpr char kScopeOp = 0x10;
constexpr char kBufferOp = 0x11;
constexpr char kPackageOp = 0x12;
constexpr char kMethodOp = 0x14;
constexpr char kExtOpPrefix = 0x5b;
constexpr char kDeviceOp = '\x82';  // after kExtOpPrefix
constexpr char kArg0Op = 0x68;
constexpr char kReturnOp = '\xa4';

// Resource descriptors, §6.4.2 and §6.4.3.
constexpr char kIoDescriptor = 0x47;
constexpr char kEndTag = 0x79;
constexpr char kFixedMemoryDescriptor = '\x86';
constexpr char kDWordAddress = '\x87';
constexpr char kWordAddress = '\x88';
constexpr char kExtendedInterrupt = '\x89';
constexpr char kDecode16 = 1;
constexpr char kReadWrite = 1;
constexpr char kConsumerEdge = 0x03;  // active high, not shared
constexpr char kFixedRange = 0x0c;    // minimum and maximum fixed, positive decode, producer
constexpr char kMemoryRange = 0;
constexpr char kIoRange = 1;
constexpr char kBusRange = 2;
constexpr char kEntireIoRange = 3;

std::string LittleEndian(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

std::string NameString(std::string_view name) {
  std::string out;
  if (!name.empty() && name.front() == '\\') {
    out.push_back('\\');
    name.remove_prefix(1);
  }
  CHECK(!name.empty() && name.size() <= 4) << "an AML name has 1 to 4 characters, not " << name;
  absl::StrAppend(&out, name);
  return out.append(4 - name.size(), '_');
}

std::string Sized(std::string_view opcode, std::string_view content) {
  return absl::StrCat(opcode, PackageLength(content.size()), content);
}

std::string One(char c) { return std::string(1, c); }

std::string AddressSpace(char descriptor, int width, char type, char type_flags, uint64_t first,
                         uint64_t last) {
  CHECK_LE(first, last);
  const std::string fields = LittleEndian(0, width) +  // granularity
                             LittleEndian(first, width) + LittleEndian(last, width) +
                             LittleEndian(0, width) +  // translation
                             LittleEndian(last - first + 1, width);
  return One(descriptor) + LittleEndian(3 + fields.size(), 2) + One(type) + One(kFixedRange) +
         One(type_flags) + fields;
}

}  // namespace

std::string PackageLength(size_t content_size) {
  // One byte up to 63; else the first byte holds the low nibble and how many bytes follow.
  if (content_size + 1 <= 0x3f) return One(static_cast<char>(content_size + 1));
  for (size_t more = 1; more <= 3; ++more) {
    const size_t total = content_size + 1 + more;
    if (total < size_t{1} << (4 + 8 * more)) {
      return One(static_cast<char>(more << 6 | (total & 0xf))) +
             LittleEndian(total >> 4, static_cast<int>(more));
    }
  }
  LOG(FATAL) << "an AML package of " << content_size << " bytes cannot be encoded";
}

std::string Scope(std::string_view name, std::string_view body) {
  return Sized(One(kScopeOp), absl::StrCat(NameString(name), body));
}

std::string Device(std::string_view name, std::string_view body) {
  return Sized(One(kExtOpPrefix) + kDeviceOp, absl::StrCat(NameString(name), body));
}

std::string Method(std::string_view name, int arguments, std::string_view body) {
  CHECK(arguments >= 0 && arguments <= 7);
  return Sized(One(kMethodOp),
               absl::StrCat(NameString(name), One(static_cast<char>(arguments)), body));
}

std::string Name(std::string_view name, std::string_view object) {
  return absl::StrCat(One(kNameOp), NameString(name), object);
}

std::string Integer(uint64_t value) {
  if (value == 0) return One(kZeroOp);
  if (value == 1) return One(kOneOp);
  if (value <= 0xff) return One(kBytePrefix) + LittleEndian(value, 1);
  if (value <= 0xffff) return One(kWordPrefix) + LittleEndian(value, 2);
  if (value <= 0xffff'ffff) return One(kDWordPrefix) + LittleEndian(value, 4);
  return One(kQWordPrefix) + LittleEndian(value, 8);
}

std::string String(std::string_view text) {
  return absl::StrCat(One(kStringPrefix), text, std::string(1, '\0'));
}

std::string EisaId(std::string_view id) {
  CHECK_EQ(id.size(), 7u) << id;
  uint32_t value = 0;
  for (char c : id.substr(0, 3)) {
    CHECK(absl::ascii_isupper(static_cast<unsigned char>(c))) << id;
    value = value << 5 | static_cast<uint32_t>(c - 'A' + 1);
  }
  for (char c : id.substr(3)) {
    CHECK(absl::ascii_isxdigit(static_cast<unsigned char>(c))) << id;
    const int upper = absl::ascii_toupper(static_cast<unsigned char>(c));
    value = value << 4 | static_cast<uint32_t>(upper <= '9' ? upper - '0' : upper - 'A' + 10);
  }
  // The compressed ID is big-endian in a little-endian integer (ACPI 6.5 §19.3.4).
  return Integer(__builtin_bswap32(value));
}

std::string Package(const std::vector<std::string>& elements) {
  CHECK_LE(elements.size(), 255u);
  std::string content = One(static_cast<char>(elements.size()));
  for (const std::string& element : elements) content += element;
  return Sized(One(kPackageOp), content);
}

std::string Buffer(std::string_view bytes) {
  return Sized(One(kBufferOp), absl::StrCat(Integer(bytes.size()), bytes));
}

std::string ReturnArgument(int index) {
  CHECK(index >= 0 && index <= 6);
  return One(kReturnOp) + static_cast<char>(kArg0Op + index);
}

std::string ResourceTemplate(std::string_view descriptors) {
  // A checksum of 0 means that there is none.
  return Buffer(absl::StrCat(descriptors, One(kEndTag), std::string(1, '\0')));
}

std::string Io(uint16_t base, uint8_t length) {
  constexpr uint64_t kAlignment = 1;
  return One(kIoDescriptor) + kDecode16 + LittleEndian(base, 2) + LittleEndian(base, 2) +
         LittleEndian(kAlignment, 1) + LittleEndian(length, 1);
}

std::string EdgeInterrupt(uint32_t gsi) {
  return One(kExtendedInterrupt) + LittleEndian(6, 2) + kConsumerEdge + LittleEndian(1, 1) +
         LittleEndian(gsi, 4);
}

std::string FixedMemory(uint32_t base, uint32_t length) {
  return One(kFixedMemoryDescriptor) + LittleEndian(9, 2) + kReadWrite + LittleEndian(base, 4) +
         LittleEndian(length, 4);
}

std::string BusWindow(uint16_t first, uint16_t last) {
  return AddressSpace(kWordAddress, 2, kBusRange, 0, first, last);
}

std::string IoWindow(uint16_t first, uint16_t last) {
  return AddressSpace(kWordAddress, 2, kIoRange, kEntireIoRange, first, last);
}

std::string MemoryWindow(uint32_t first, uint32_t last) {
  return AddressSpace(kDWordAddress, 4, kMemoryRange, kReadWrite, first, last);
}

}  // namespace watchsnap::aml
