#include "mark.h"

#define INLINED static inline __attribute__((always_inline))

INLINED void innermost(void) {
  MARK(innermost);
}

INLINED void middle(void) {
  innermost();  // middle calls innermost
  MARK(middle);
}
