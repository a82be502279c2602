"""Newer projects load each rule from a file of its own."""

cc_library = native.cc_library
