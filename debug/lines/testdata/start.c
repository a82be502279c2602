#include "mark.h"

void outer(void);
void elsewhere(void);

void _start(void) {
  outer();
  MARK(returned);
  elsewhere();
}
