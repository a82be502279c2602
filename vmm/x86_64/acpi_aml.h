// AML: assembles the few ACPI Machine Language terms that the DSDT of a virtual machine needs.
//
// Each function returns the bytes of one term; terms are joined by concatenation:
//   Device("COM1", Name("_HID", EisaId("PNP0501")) + Name("_CRS", ResourceTemplate(Io(0x3f8, 8))))
// Pure functions, any thread. Arguments come from the program, never from a guest: a bad one is a
// CHECK. Source: ACPI 6.5 §20.2 (AML encoding), §6.4 (resource descriptors).
#ifndef WATCHSNAP_VMM_X86_64_ACPI_AML_H_
#define WATCHSNAP_VMM_X86_64_ACPI_AML_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace watchsnap::aml {

// Names are one segment of up to 4 characters, padded with '_'; a leading '\' makes it absolute.
std::string Scope(std::string_view name, std::string_view body);
std::string Device(std::string_view name, std::string_view body);
std::string Method(std::string_view name, int arguments, std::string_view body);
std::string Name(std::string_view name, std::string_view object);

std::string Integer(uint64_t value);
std::string String(std::string_view text);
std::string EisaId(std::string_view id);  // such as "PNP0A08"
std::string Package(const std::vector<std::string>& elements);
std::string Buffer(std::string_view bytes);

std::string ReturnArgument(int index);

// A buffer of resource descriptors, as _CRS holds it; `descriptors` joined from the functions
// below.
std::string ResourceTemplate(std::string_view descriptors);
std::string Io(uint16_t base, uint8_t length);
std::string EdgeInterrupt(uint32_t gsi);
std::string FixedMemory(uint32_t base, uint32_t length);
// Windows that a bridge hands on to what is behind it; `last` is inside.
std::string BusWindow(uint16_t first, uint16_t last);
std::string IoWindow(uint16_t first, uint16_t last);
std::string MemoryWindow(uint32_t first, uint32_t last);

// A package length as it stands in front of `content_size` bytes; it counts its own bytes as well.
std::string PackageLength(size_t content_size);

}  // namespace watchsnap::aml

#endif  // WATCHSNAP_VMM_X86_64_ACPI_AML_H_
