// VirtualPiece: guest-virtual memory [va, va + size) that lies in one piece of RAM, such as a page of any size.
// Units: `va` is a guest-virtual address, `size` bytes; `host` lives as long as the guest's memory.
#ifndef WATCHSNAP_VMM_VIRTUAL_PIECE_H_
#define WATCHSNAP_VMM_VIRTUAL_PIECE_H_

#include <cstdint>

namespace watchsnap {

struct VirtualPiece {
  uint64_t va = 0;
  uint64_t size = 0;  // 0: none
  const uint8_t* host = nullptr;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_VIRTUAL_PIECE_H_
