// Little-endian loads and stores at unaligned addresses, for the wire format. The caller has
// checked the bounds.
#ifndef WATCHSNAP_SNAPSHOT_WIRE_BYTE_ORDER_H_
#define WATCHSNAP_SNAPSHOT_WIRE_BYTE_ORDER_H_

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace watchsnap {

template <std::unsigned_integral T>
T LoadLittleEndian(const uint8_t* from) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value | (T{from[i]} << (8 * i)));
  return value;
}

template <std::unsigned_integral T>
void StoreLittleEndian(T value, uint8_t* to) {
  for (size_t i = 0; i < sizeof(T); ++i) to[i] = static_cast<uint8_t>(value >> (8 * i));
}

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_WIRE_BYTE_ORDER_H_
