// Prints a kernel's types as a C header, for BPF programs: vmlinux_header VMLINUX > vmlinux.h
//
// What bpftool does with `btf dump file VMLINUX format c`, with the libbpf that is here anyway.
// Types carry preserve_access_index, so that a program finds its fields in another kernel too.
#include <bpf/btf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

namespace {

void Print(void*, const char* format, va_list arguments) { vprintf(format, arguments); }

int Fail(const char* what, const char* file, int error) {
  fprintf(stderr, "vmlinux_header: %s %s: %s\n", what, file, strerror(error < 0 ? -error : error));
  return 1;
}

int DumpTypes(const btf* types, const char* file) {
  btf_dump* dump = btf_dump__new(types, Print, nullptr, nullptr);
  if (dump == nullptr) return Fail("cannot print the types of", file, errno);
  int result = 0;
  for (__u32 id = 1; id < btf__type_cnt(types) && result == 0; ++id) {
    const int error = btf_dump__dump_type(dump, id);
    if (error != 0) result = Fail("cannot print a type of", file, error);
  }
  btf_dump__free(dump);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: vmlinux_header VMLINUX > vmlinux.h\n");
    return 2;
  }
  btf* types = btf__parse(argv[1], nullptr);
  if (types == nullptr) return Fail("cannot read the BTF of", argv[1], errno);
  printf(
      "#ifndef VMLINUX_H\n#define VMLINUX_H\n#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n"
      "#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)\n"
      "#endif\n\n");
  const int result = DumpTypes(types, argv[1]);
  printf("\n#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute pop\n#endif\n#endif\n");
  btf__free(types);
  return fflush(stdout) == 0 ? result : Fail("cannot write the types of", argv[1], errno);
}
