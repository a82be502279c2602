// A scenario program resolves no host names. GoogleTest can (for --gtest_stream_result_to), and the
// C library's resolver does not work in a static program without the libraries it was linked with:
// the linker would say so for every scenario.
#include <netdb.h>

extern "C" int getaddrinfo(const char*, const char*, const addrinfo*, addrinfo**) {
  return EAI_FAIL;
}

extern "C" void freeaddrinfo(addrinfo*) noexcept {}
