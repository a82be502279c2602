// What the maps of maps.bpf.c hold: for the program (C, after vmlinux.h) and for the scenario that
// fills them (C++).
#ifndef WATCHSNAP_TESTING_BPF_MAPS_H_
#define WATCHSNAP_TESTING_BPF_MAPS_H_

#ifdef __cplusplus
#include <linux/types.h>
#endif

enum maps_mood { MAPS_CALM = 1, MAPS_BUSY = 2, MAPS_ANGRY = 70000 };

// A key with a hole after `port`.
struct maps_key {
  __u32 address;
  __u16 port;
  __u16 zero;
};

struct maps_counter {
  __u64 hits;
  __s32 level;
  __u32 urgent : 1;
  __u32 weight : 7;
  enum maps_mood mood;
};

struct maps_note {
  __u64 visits;
  char text[16];
};

#endif  // WATCHSNAP_TESTING_BPF_MAPS_H_
