// A symbol at exactly this place in the code, which tests look up by name. For code that is
// compiled once.
#define MARK(name) __asm__ volatile(".globl mark_" #name "\nmark_" #name ":\n\tnop")
