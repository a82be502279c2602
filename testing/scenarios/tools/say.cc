// Prints its argument; exits with 2 without one. A program for guests.
#include <stdio.h>

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  puts(argv[1]);
  return 0;
}
