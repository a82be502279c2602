// What a compiler writes about inlined functions, in the small. Never run.
#include "helpers.h"

__attribute__((noinline)) void outer(void) {
  MARK(outer);
  middle();  // outer calls middle
}

__attribute__((noinline, section(".text.elsewhere"))) void elsewhere(void) {
  MARK(elsewhere);
}
